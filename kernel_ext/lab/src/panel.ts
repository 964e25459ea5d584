// A page of the dashboard in a tab of its own: an iframe, by way of the Jupyter server, so that its styles and ours do
// not meet. It follows the active notebook or console, or stays at the cluster that was chosen above it.

import { IThemeManager, MainAreaWidget } from '@jupyterlab/apputils';
import { launchIcon, refreshIcon, ToolbarButton } from '@jupyterlab/ui-components';
import { UUID } from '@lumino/coreutils';
import { Message } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { ICluster, IPage } from './api';
import { himaliaIcon } from './icon';
import { ClusterModel } from './model';
import { nameOf, titleOf } from './words';

export interface IPanelActions {
  insert(cluster: ICluster): void;
  start(): void;
  key(event: KeyboardEvent): void;
}

// `id` is that of a panel that is restored, empty for a new one.
export interface IPlace {
  pinned: string;
  id: string;
}

const FOLLOW = '';

export function isDark(themes: IThemeManager | null): boolean {
  return !!themes?.theme && !themes.isLight(themes.theme);
}

class PageView extends Widget {
  constructor(
    private readonly _model: ClusterModel,
    private readonly _themes: IThemeManager | null,
    private readonly _actions: IPanelActions,
    readonly page: IPage
  ) {
    super();
    this.addClass('himalia-Page');
    this._frame.className = 'himalia-Frame';
    this._frame.title = `Himalia: ${page.title}`;
    this._frame.addEventListener('load', () => this._shareKeys());
    this._empty.className = 'himalia-Empty';
    this._empty.tabIndex = -1;
    this.node.append(this._empty, this._frame);
    _model.changed.connect(this.draw, this);
    _themes?.themeChanged.connect(this._themeChanged, this);
    this.draw();
  }

  // A cluster's id, or nothing: that of the active notebook or console.
  get pinned(): string {
    return this._pinned;
  }

  set pinned(id: string) {
    this._pinned = id;
    this._pinnedChanged.emit();
    this.draw();
  }

  get pinnedChanged(): ISignal<this, void> {
    return this._pinnedChanged;
  }

  get shown(): string {
    return this._shown;
  }

  reload(): void {
    this._frame.contentWindow?.location.reload();
  }

  dispose(): void {
    this._model.changed.disconnect(this.draw, this);
    this._themes?.themeChanged.disconnect(this._themeChanged, this);
    Signal.clearData(this);
    super.dispose();
  }

  draw(): void {
    const cluster = this._pinned ? this._model.find(this._pinned) : this._model.active;
    if (cluster?.has_dashboard) {
      this._show(cluster.id);
    } else if (this._model.isKnown) {
      this._show('');
      this._explain(cluster);
    }
  }

  protected onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    (this._shown ? this._frame : this._empty).focus();
  }

  private _show(id: string): void {
    this._frame.hidden = !id;
    this._empty.hidden = !!id;
    if (id === this._shown) {
      return;
    }
    this._shown = id;
    this._frame.src = id ? this._model.api.panelUrl(id, this.page.name, this._theme) : 'about:blank';
  }

  // What to do where there is nothing to show.
  private _explain(cluster: ICluster | undefined): void {
    const { document: followed, clusters } = this._model;
    const lines: (string | HTMLElement)[] = [];
    const buttons = clusters.filter(one => one.has_dashboard);
    if (cluster) {
      lines.push(cluster.problem || `${nameOf(cluster)} has no dashboard, or one on the machine of its head alone.`);
    } else if (this._pinned) {
      lines.push(`The cluster ${this._pinned} has ended.`);
    } else if (!followed) {
      lines.push('This page follows the active notebook or console, and none is open.');
    } else {
      lines.push(`${titleOf(followed)} is not connected to a cluster. Start one in it:`);
      const code = document.createElement('pre');
      code.textContent = '%load_ext himalia\n%cluster start';
      lines.push(code);
      if (buttons.length) {
        lines.push('Or connect it to one that runs:');
      }
    }
    const text = lines.map(line => (typeof line === 'string' ? line : line.textContent)).join('\n');
    const key = `${text}\n${buttons.map(one => one.id).join()}`;
    if (key === this._explained) {
      return; // a button that has the focus keeps it
    }
    this._explained = key;
    this._empty.replaceChildren(
      ...lines.map(line => (typeof line === 'string' ? paragraph(line) : line)),
      ...(!cluster && !this._model.obstacle ? buttons.map(one => this._connect(one)) : []),
      ...(clusters.length ? [] : [button('Start a cluster', () => this._actions.start())])
    );
  }

  private _connect(cluster: ICluster): HTMLElement {
    return button(`Insert the cell that connects to ${nameOf(cluster)}`, () => this._actions.insert(cluster));
  }

  private get _theme(): string {
    return isDark(this._themes) ? 'dark' : 'light';
  }

  // Where the user has gone to within the page stays.
  private _themeChanged(): void {
    const inside = this._frame.contentWindow;
    if (this._shown && inside) {
      const place = new URL(inside.location.href);
      place.searchParams.set('theme', this._theme);
      inside.location.replace(place.href);
    }
  }

  // Shortcuts of JupyterLab work also while the focus is in the page. Keys without Ctrl or ⌘ are the page's own.
  private _shareKeys(): void {
    this._frame.contentWindow?.addEventListener('keydown', event => {
      if (event.ctrlKey || event.metaKey) {
        this._actions.key(event);
      }
    });
  }

  private readonly _frame = document.createElement('iframe');
  private readonly _empty = document.createElement('div');
  private readonly _pinnedChanged = new Signal<this, void>(this);
  private _pinned = FOLLOW;
  private _shown = '';
  private _explained = '';
}

// Which cluster a panel shows.
class ClusterChoice extends Widget {
  constructor(
    private readonly _model: ClusterModel,
    private readonly _view: PageView
  ) {
    super();
    this.addClass('himalia-Choice');
    this._select.setAttribute('aria-label', 'Which cluster to show');
    this._select.addEventListener('change', () => {
      this._view.pinned = this._select.value;
    });
    this.node.append(this._select);
    _model.changed.connect(this._draw, this);
    this._draw();
  }

  dispose(): void {
    this._model.changed.disconnect(this._draw, this);
    super.dispose();
  }

  private _draw(): void {
    const { active, clusters, documents } = this._model;
    const rows: [string, string][] = [[FOLLOW, `Active ${documents.kind}${active ? `: ${nameOf(active)}` : ''}`]];
    rows.push(...clusters.map((one): [string, string] => [one.id, nameOf(one)]));
    const pinned = this._view.pinned;
    if (pinned && !this._model.find(pinned)) {
      rows.push([pinned, `${pinned} (ended)`]);
    }
    const drawn = JSON.stringify([rows, pinned]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    this._select.replaceChildren(
      ...rows.map(([value, text]) => new Option(text, value, false, value === pinned))
    );
  }

  private readonly _select = document.createElement('select');
  private _drawn = '';
}

export class PagePanel extends MainAreaWidget<PageView> {
  constructor(model: ClusterModel, themes: IThemeManager | null, actions: IPanelActions, page: IPage, place: IPlace) {
    const content = new PageView(model, themes, actions, page);
    content.pinned = place.pinned;
    super({ content });
    this.id = place.id || `himalia-page-${UUID.uuid4()}`;
    this.title.label = page.title;
    this.title.caption = `Himalia: ${page.about || page.title}`;
    this.title.icon = himaliaIcon;
    this.toolbar.addItem('cluster', new ClusterChoice(model, content));
    this.toolbar.addItem(
      'reload',
      new ToolbarButton({ icon: refreshIcon, tooltip: 'Load the page again', onClick: () => content.reload() })
    );
    this.toolbar.addItem(
      'open',
      new ToolbarButton({
        icon: launchIcon,
        tooltip: 'Open the dashboard in a browser tab',
        onClick: () => this._open(model)
      })
    );
  }

  private _open(model: ClusterModel): void {
    const { shown, page } = this.content;
    if (shown) {
      window.open(model.api.pageUrl(shown, page.name), '_blank', 'noopener');
    }
  }
}

function paragraph(text: string): HTMLElement {
  const node = document.createElement('p');
  node.textContent = text;
  return node;
}

function button(text: string, act: () => void): HTMLElement {
  const node = document.createElement('button');
  node.className = 'jp-mod-styled jp-mod-accept';
  node.textContent = text;
  node.addEventListener('click', act);
  return node;
}
