// The cell that connects a notebook to a cluster. It is always a cell that the user sees, never a hidden execution, so
// that the notebook does the same when it is run again.

import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';

import { ICluster } from './api';

export function connectingCode(cluster: ICluster): string {
  return `%load_ext himalia\n%cluster connect ${cluster.id}`;
}

// Insert it above the active cell, and make it the active one.
export function insertCell(notebook: NotebookPanel, cluster: ICluster): void {
  NotebookActions.insertAbove(notebook.content);
  notebook.content.activeCell?.model.sharedModel.setSource(connectingCode(cluster));
}

export async function insertAndRun(notebook: NotebookPanel, cluster: ICluster): Promise<void> {
  insertCell(notebook, cluster);
  await NotebookActions.run(notebook.content, notebook.sessionContext);
}
