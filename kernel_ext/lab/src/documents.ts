// What is followed: notebooks and code consoles, and which of them the user worked in last. A page of the dashboard or a
// terminal that gets the focus changes nothing.
//
// The shell says who has it. A tracker alone does not: who goes from a notebook to a console and back finds that notebook
// current all the time.

import { JupyterFrontEnd } from '@jupyterlab/application';
import { ConsolePanel, IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

export type Document = NotebookPanel | ConsolePanel;

export class Documents {
  constructor(
    private readonly _shell: JupyterFrontEnd.IShell,
    private readonly _notebooks: INotebookTracker,
    private readonly _consoles: IConsoleTracker | null
  ) {
    const choose = () => this._choose();
    _shell.currentChanged?.connect(choose);
    _notebooks.currentChanged.connect(choose);
    _consoles?.currentChanged.connect(choose);
    this._choose();
  }

  get current(): Document | null {
    return this._current;
  }

  // Another one is current.
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  forEach(each: (document: Document) => void): void {
    this._notebooks.forEach(each);
    this._consoles?.forEach(each);
  }

  isConsole(document: Document): document is ConsolePanel {
    return !!this._consoles?.has(document);
  }

  // As texts name the current one.
  get kind(): string {
    return this._current && this.isConsole(this._current) ? 'console' : 'notebook';
  }

  private _choose(): void {
    const before = this._current;
    const focused = this._shell.currentWidget;
    if (focused && this._has(focused)) {
      this._current = focused;
    } else if (!before || before.isDisposed) {
      this._current = this._notebooks.currentWidget ?? this._consoles?.currentWidget ?? null;
    }
    if (this._current !== before) {
      this._changed.emit();
    }
  }

  private _has(widget: Widget): widget is Document {
    return this._notebooks.has(widget) || !!this._consoles?.has(widget);
  }

  private readonly _changed = new Signal<this, void>(this);
  private _current: Document | null = null;
}
