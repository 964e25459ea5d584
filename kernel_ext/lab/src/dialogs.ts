// What is asked before something is done.

import { Dialog, InputDialog, showDialog } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import { ICluster, IStart } from './api';
import { ClusterModel } from './model';
import { nameOf, plain, plural, usersOf } from './words';

const GIGABYTE = 1e9;

class StartForm extends Widget implements Dialog.IBodyWidget<IStart> {
  constructor() {
    super();
    this.addClass('himalia-Form');
    this._name = this._field('Name', 'text', 'none');
    this._cpus = this._field('CPUs', 'number', 'all of this machine', '1');
    this._memory = this._field('Object memory, GB', 'number', 'by the machine', '0.1');
    this._keep = this._field('Keep it when the Jupyter server ends', 'checkbox');
  }

  getValue(): IStart {
    const asked: IStart = { keep: this._keep.checked };
    if (this._name.value.trim()) {
      asked.name = this._name.value.trim();
    }
    if (this._cpus.value) {
      asked.cpus = this._cpus.valueAsNumber;
    }
    if (this._memory.value) {
      asked.object_store_memory = Math.round(this._memory.valueAsNumber * GIGABYTE);
    }
    return asked;
  }

  private _field(title: string, type: string, placeholder = '', least = ''): HTMLInputElement {
    const label = document.createElement('label');
    const words = document.createElement('span');
    const input = document.createElement('input');
    words.textContent = title;
    input.type = type;
    input.placeholder = placeholder;
    if (least) {
      input.min = least;
      input.step = 'any';
    }
    if (type !== 'checkbox') {
      input.className = 'jp-mod-styled';
    }
    label.append(words, input);
    this.node.append(label);
    return input;
  }

  private readonly _name: HTMLInputElement;
  private readonly _cpus: HTMLInputElement;
  private readonly _memory: HTMLInputElement;
  private readonly _keep: HTMLInputElement;
}

export async function askStart(): Promise<IStart | null> {
  const answer = await showDialog({
    title: 'Start a cluster on this machine',
    body: new StartForm(),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Start' })],
    focusNodeSelector: 'input'
  });
  return answer.button.accept ? answer.value : null;
}

export async function askStop(model: ClusterModel, cluster: ICluster): Promise<boolean> {
  const users = usersOf(model, cluster);
  const tasks = cluster.tasks.running + cluster.tasks.waiting;
  const hits = [
    plural(cluster.nodes, 'node'),
    tasks ? `${plural(tasks, 'task')} that run or wait` : 'no task runs or waits',
    users.length ? `in use by ${users.join(', ')}` : 'nobody is connected'
  ];
  const answer = await showDialog({
    title: `Stop ${nameOf(cluster)}?`,
    body: `${hits.join('; ')}. Its objects can not be read any more then.`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Stop' })],
    defaultButton: 0
  });
  return answer.button.accept;
}

export async function askScale(cluster: ICluster): Promise<number | null> {
  const answer = await InputDialog.getNumber({
    title: `How many CPUs shall ${nameOf(cluster)} have?`,
    label: `It has ${plain(cluster.cpus.total)}, of which ${plain(cluster.cpus.used)} are in use. What runs goes on.`,
    value: cluster.cpus.total,
    okLabel: 'Scale'
  });
  return answer.button.accept ? answer.value : null;
}

// One of the clusters, where a command was not told which; without asking where there is only one.
export async function choose(model: ClusterModel, title: string): Promise<ICluster | null> {
  if (!model.clusters.length) {
    await showDialog({
      title,
      body: 'No cluster of yours runs on this machine. "Himalia: Start a Cluster" starts one.',
      buttons: [Dialog.okButton()]
    });
    return null;
  }
  if (model.clusters.length === 1) {
    return model.clusters[0] ?? null;
  }
  const names = model.clusters.map(cluster => `${nameOf(cluster)} (${cluster.id})`);
  const current = Math.max(0, model.clusters.findIndex(cluster => cluster === model.active));
  const answer = await InputDialog.getItem({ title, items: names, current });
  return answer.button.accept && answer.value ? (model.clusters[names.indexOf(answer.value)] ?? null) : null;
}
