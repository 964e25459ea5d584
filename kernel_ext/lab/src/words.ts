// Numbers with their units, and what things are called.

import { ICluster, IUse } from './api';
import { Document } from './documents';
import { ClusterModel } from './model';

const SHORT = 8; // letters of an id

export function nameOf(cluster: ICluster): string {
  return cluster.name || `cluster ${cluster.id.slice(0, SHORT)}`;
}

export function titleOf(document: Document): string {
  return document.title.label;
}

export function plain(value: number): string {
  return String(Math.round(value * 100) / 100);
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let place = 0;
  while (Math.abs(value) >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${value >= 100 || place === 0 ? Math.round(value) : value.toFixed(1)} ${units[place]}`;
}

export function plural(count: number, word: string): string {
  return `${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`;
}

export function useOf(use: IUse, show: (value: number) => string = plain): string {
  const grows = use.most ? ` (grows to ${show(use.most)})` : '';
  return `${show(use.used)} of ${show(use.total)}${grows}`;
}

export function tasksOf(cluster: ICluster): string {
  const { running, waiting, rate } = cluster.tasks;
  const speed = rate >= 1 ? `, ${Math.round(rate).toLocaleString('en')} a second` : '';
  return `${running.toLocaleString('en')} running, ${waiting.toLocaleString('en')} waiting${speed}`;
}

// A program by the file that it was started with; what comes behind are its arguments.
function programOf(entrypoint: string): string {
  const file = entrypoint.split(' ')[0]?.split('/').pop() ?? '';
  return file.startsWith('ipykernel') ? 'kernel of another server' : file;
}

// Who works with a cluster: notebooks and consoles by name, other programs by theirs.
export function usersOf(model: ClusterModel, cluster: ICluster): string[] {
  const names = new Map<string, string>();
  model.documents.forEach(document => {
    const kernel = document.sessionContext.session?.kernel?.id;
    if (kernel && !names.has(kernel)) {
      names.set(kernel, titleOf(document)); // a notebook's, of one with a console beside it
    }
  });
  return cluster.drivers.map(driver =>
    driver.kernel
      ? (names.get(driver.kernel) ?? `kernel ${driver.kernel.slice(0, SHORT)}`)
      : `${programOf(driver.program)} (process ${driver.pid})`
  );
}

export function endOf(cluster: ICluster): string {
  if (cluster.ends_with_server) {
    return 'with the Jupyter server';
  }
  const owner = cluster.drivers.find(driver => driver.pid === cluster.owner);
  if (owner?.kernel) {
    return 'with its kernel';
  }
  return cluster.owner ? `with process ${cluster.owner}` : 'when it is stopped';
}
