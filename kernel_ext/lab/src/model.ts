// The clusters there are, and which of them the active notebook works with. Everything that is shown reads this.
//
// It asks every two seconds, not while the browser's tab is hidden, and at once when a cell has ended, since that is
// when a notebook connects. Whose cluster is whose comes with the answer: the kernel is not asked, as it does not
// answer while a cell runs.

import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Api, ICluster } from './api';

const INTERVAL = 2000; // milliseconds

export class ClusterModel implements IDisposable {
  constructor(
    readonly api: Api,
    readonly notebooks: INotebookTracker
  ) {
    this._poll = new Poll({
      name: 'himalia:clusters',
      auto: true,
      factory: () => this._read(),
      frequency: { interval: INTERVAL, backoff: 2, max: 10 * INTERVAL },
      standby: 'when-hidden'
    });
    notebooks.currentChanged.connect(() => this._notebookChanged());
    this._notebookChanged();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  // False until the first answer.
  get isKnown(): boolean {
    return this._isKnown;
  }

  // Why the list may be old; empty: it is not.
  get problem(): string {
    return this._problem;
  }

  get clusters(): ICluster[] {
    return this._clusters;
  }

  find(id: string): ICluster | undefined {
    return this._clusters.find(cluster => cluster.id === id);
  }

  get notebook(): NotebookPanel | null {
    return this.notebooks.currentWidget;
  }

  // Why the active notebook can not be connected to a cluster; empty: it can.
  get obstacle(): string {
    if (!this.notebook) {
      return 'No notebook is open';
    }
    const name = this.notebook.title.label;
    const language = this.notebook.content.model?.defaultKernelLanguage || 'python';
    if (language !== 'python') {
      return `${name} is no notebook of Python`;
    }
    return this.active ? `${name} is connected: %cluster stop first` : '';
  }

  // The cluster that the active notebook's kernel is connected to.
  get active(): ICluster | undefined {
    const kernel = this.notebook?.sessionContext.session?.kernel?.id;
    return kernel ? this.ofKernel(kernel) : undefined;
  }

  ofKernel(kernel: string): ICluster | undefined {
    return this._clusters.find(cluster => cluster.drivers.some(driver => driver.kernel === kernel));
  }

  // Ask now.
  async refresh(): Promise<void> {
    await this._poll.refresh();
    await this._poll.tick;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _read(): Promise<void> {
    try {
      this._clusters = await this.api.clusters();
      this._isKnown = true;
      this._problem = '';
    } catch (error) {
      this._problem = String((error as Error).message ?? error);
      throw error; // so that the poll waits longer
    } finally {
      this._changed.emit();
    }
  }

  private _notebookChanged(): void {
    const context = this.notebook?.sessionContext ?? null;
    if (context !== this._context) {
      this._context?.statusChanged.disconnect(this._statusChanged, this);
      this._context?.kernelChanged.disconnect(this._kernelChanged, this);
      this._context = context;
      context?.statusChanged.connect(this._statusChanged, this);
      context?.kernelChanged.connect(this._kernelChanged, this);
    }
    this._changed.emit();
  }

  private _statusChanged(_: unknown, status: Kernel.Status): void {
    if (status === 'idle') {
      void this._poll.refresh();
    }
  }

  private _kernelChanged(): void {
    void this._poll.refresh();
    this._changed.emit();
  }

  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private _clusters: ICluster[] = [];
  private _isKnown = false;
  private _problem = '';
  private _context: NotebookPanel['sessionContext'] | null = null;
}
