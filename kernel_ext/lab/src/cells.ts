// The cell that connects a notebook to a cluster. It is always a cell that the user sees, never a hidden execution, so
// that the notebook does the same when it is run again. In a console it is the cell to be run next.

import { NotebookActions } from '@jupyterlab/notebook';

import { ICluster } from './api';
import { Document, Documents } from './documents';

export function connectingCode(cluster: ICluster): string {
  return `%load_ext himalia\n%cluster connect ${cluster.id}`;
}

// Insert it above the active cell, and make it the active one; in a console, before what is typed.
export function insertCell(documents: Documents, document: Document, cluster: ICluster): void {
  const code = connectingCode(cluster);
  if (documents.isConsole(document)) {
    const typed = document.console.promptCell?.model.sharedModel;
    typed?.setSource(typed.source ? `${code}\n${typed.source}` : code);
  } else {
    NotebookActions.insertAbove(document.content);
    document.content.activeCell?.model.sharedModel.setSource(code);
  }
}

export async function insertAndRun(documents: Documents, document: Document, cluster: ICluster): Promise<void> {
  if (documents.isConsole(document)) {
    await document.console.inject(connectingCode(cluster)); // a cell of its own; what is typed stays
  } else {
    insertCell(documents, document, cluster);
    await NotebookActions.run(document.content, document.sessionContext);
  }
}
