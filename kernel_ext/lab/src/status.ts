// The item of the status bar: the cluster of the active notebook or console, CPUs in use, tasks that run.

import { Widget } from '@lumino/widgets';

import { ICluster } from './api';
import { ClusterModel } from './model';
import { nameOf, plain, plural, tasksOf, titleOf, useOf } from './words';

export class StatusItem extends Widget {
  constructor(
    private readonly _model: ClusterModel,
    open: () => void
  ) {
    super();
    this.addClass('himalia-Status');
    this._button.addEventListener('click', open);
    this.node.append(this._button);
    _model.changed.connect(this._draw, this);
    this._draw();
  }

  dispose(): void {
    this._model.changed.disconnect(this._draw, this);
    super.dispose();
  }

  private _draw(): void {
    const { active, document: followed, clusters } = this._model;
    if (active) {
      this._button.textContent = summary(active);
      this._button.title = `${nameOf(active)} (${active.id})\nCPUs: ${useOf(active.cpus)} in use\nTasks: ${tasksOf(active)}`;
    } else if (clusters.length) {
      this._button.textContent = 'Himalia: not connected';
      const who = followed ? `${titleOf(followed)} is not connected to a cluster; ` : '';
      this._button.title = `${who}${plural(clusters.length, 'cluster')} of yours on this machine`;
    } else {
      this._button.textContent = 'Himalia: no cluster';
      this._button.title = 'No cluster of yours runs on this machine';
    }
  }

  private readonly _button = document.createElement('button');
}

function summary(cluster: ICluster): string {
  if (cluster.problem) {
    return `${nameOf(cluster)}: does not answer`;
  }
  const { used, total } = cluster.cpus;
  return `${nameOf(cluster)}: ${plain(used)}/${plain(total)} CPUs, ${plural(cluster.tasks.running, 'task')} running`;
}
