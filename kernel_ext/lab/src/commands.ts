// What can be done, by name: the palette, the keyboard, the side bar and other extensions all use these.

import { showErrorMessage } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { ICluster } from './api';
import { insertAndRun, insertCell } from './cells';
import { askScale, askStart, askStop, choose } from './dialogs';
import { ClusterModel } from './model';

export namespace CommandIDs {
  export const show = 'himalia:show-clusters';
  export const start = 'himalia:start-cluster';
  export const stop = 'himalia:stop-cluster';
  export const scale = 'himalia:scale-cluster';
  export const connect = 'himalia:connect';
  export const insert = 'himalia:insert-connecting-cell';
  export const open = 'himalia:open-page';
}

export type Args = ReadonlyPartialJSONObject;

// All but those that open something. `cluster` among the arguments is an id; without it the user is asked.
export function addCommands(commands: CommandRegistry, model: ClusterModel): void {
  const { api } = model;
  const isFree = () => !model.obstacle;

  const given = async (args: Args, title: string): Promise<ICluster | null> =>
    (typeof args.cluster === 'string' ? model.find(args.cluster) : await choose(model, title)) ?? null;

  const add = (id: string, label: string, caption: string, act: (args: Args) => Promise<void>, on = () => true) =>
    commands.addCommand(id, {
      label,
      caption,
      isEnabled: on,
      execute: async args => {
        try {
          await act(args);
        } catch (error) {
          await showErrorMessage(label, error as Error);
        }
      }
    });

  add(CommandIDs.start, 'Start a Cluster', 'Start a cluster on this machine', async () => {
    const options = await askStart();
    if (options) {
      await api.start(options);
      await model.refresh();
    }
  });

  add(CommandIDs.stop, 'Stop a Cluster', 'End a cluster with all its processes', async args => {
    const cluster = await given(args, 'Stop which cluster?');
    if (cluster && (await askStop(model, cluster))) {
      await api.stop(cluster.id);
      await model.refresh();
    }
  });

  add(CommandIDs.scale, 'Scale a Cluster', 'Change how many CPUs a cluster has', async args => {
    const cluster = await given(args, 'Scale which cluster?');
    const cpus = cluster && (await askScale(cluster));
    if (cluster && cpus) {
      await api.scale(cluster.id, cpus);
      await model.refresh();
    }
  });

  add(
    CommandIDs.connect,
    'Connect the Notebook to a Cluster',
    'Insert the cell that connects the active notebook or console, and run it',
    async args => {
      const cluster = await given(args, 'Connect to which cluster?');
      if (cluster && model.document) {
        await insertAndRun(model.documents, model.document, cluster);
      }
    },
    isFree
  );

  add(
    CommandIDs.insert,
    'Insert the Cell That Connects to a Cluster',
    'Insert the cell that connects the active notebook or console',
    async args => {
      const cluster = await given(args, 'Connect to which cluster?');
      if (cluster && model.document) {
        insertCell(model.documents, model.document, cluster);
      }
    },
    isFree
  );
}
