// The clusters there are, and which of them the active notebook or console works with. Everything that is shown reads
// this.
//
// It asks every two seconds, not while the browser's tab is hidden, and at once when a cell has ended, since that is
// when a notebook connects. Whose cluster is whose comes with the answer: the kernel is not asked, as it does not
// answer while a cell runs.

import { Kernel } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { Api, ICluster } from './api';
import { Document, Documents } from './documents';

const INTERVAL = 2000; // milliseconds

export class ClusterModel implements IDisposable {
  constructor(
    readonly api: Api,
    readonly documents: Documents
  ) {
    this._poll = new Poll({
      name: 'himalia:clusters',
      auto: true,
      factory: () => this._read(),
      frequency: { interval: INTERVAL, backoff: 2, max: 10 * INTERVAL },
      standby: 'when-hidden'
    });
    documents.changed.connect(() => this._documentChanged());
    this._documentChanged();
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

  // The notebook or console that the user worked in last.
  get document(): Document | null {
    return this.documents.current;
  }

  // Why the active document can not be connected to a cluster; empty: it can.
  get obstacle(): string {
    if (!this.document) {
      return 'No notebook or console is open';
    }
    const name = this.document.title.label;
    if (this._languageOf(this.document) !== 'python') {
      return `${name} is no ${this.documents.kind} of Python`;
    }
    return this.active ? `${name} is connected: %cluster stop first` : '';
  }

  // The cluster that the active document's kernel is connected to.
  get active(): ICluster | undefined {
    const kernel = this.document?.sessionContext.session?.kernel?.id;
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

  // As far as it is known: a notebook says so itself, of a console its kernel does.
  private _languageOf(document: Document): string {
    if (!this.documents.isConsole(document)) {
      return document.content.model?.defaultKernelLanguage || 'python';
    }
    const { session, specsManager } = document.sessionContext;
    return specsManager.specs?.kernelspecs[session?.kernel?.name ?? '']?.language ?? 'python';
  }

  private _documentChanged(): void {
    const context = this.document?.sessionContext ?? null;
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
  private _context: Document['sessionContext'] | null = null;
}
