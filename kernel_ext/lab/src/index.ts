// The plugin: a side bar, panels with pages of the dashboard, an item in the status bar, commands.

import { ILabShell, ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';

import { Api, IPage } from './api';
import { addCommands, Args, CommandIDs } from './commands';
import { Documents } from './documents';
import { himaliaIcon } from './icon';
import { ClusterModel } from './model';
import { IPlace, PagePanel } from './panel';
import { SideBar } from './sidebar';
import { StatusItem } from './status';

const CATEGORY = 'Himalia';
const FIRST_PAGE = 'overview';
const SIDE_BAR_RANK = 550; // below JupyterLab's own, above those that have no rank

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'himalia:plugin',
  description: 'Clusters and dashboard pages of Himalia.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ICommandPalette, ILayoutRestorer, IThemeManager, IStatusBar, ILabShell, IConsoleTracker],
  activate
};

function activate(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  themes: IThemeManager | null,
  statusBar: IStatusBar | null,
  labShell: ILabShell | null,
  consoles: IConsoleTracker | null
): void {
  const { commands, shell } = app;
  const model = new ClusterModel(new Api(), new Documents(shell, notebooks, consoles));
  addCommands(commands, model);

  const sideBar = new SideBar(model, commands);
  shell.add(sideBar, 'left', { rank: SIDE_BAR_RANK });
  restorer?.add(sideBar, sideBar.id);
  const show = () => shell.activateById(sideBar.id);
  commands.addCommand(CommandIDs.show, {
    label: 'Show Clusters',
    caption: 'Clusters of yours on this machine, in the side bar',
    icon: himaliaIcon,
    execute: show
  });
  statusBar?.registerStatusItem('himalia:status', { item: new StatusItem(model, show), align: 'left', rank: 100 });

  const pages = model.api.pages().catch(error => {
    console.warn('Himalia: the pages of the dashboard are not known:', error);
    return [];
  });
  void pages.then(found => {
    sideBar.pages = found;
    for (const page of found) {
      palette?.addItem({ command: CommandIDs.open, category: CATEGORY, args: { page: page.name } });
    }
  });
  addOpen(app, pages, labShell ? panels(app, model, themes, restorer) : browserTabs(app, model));
  for (const command of Object.values(CommandIDs).filter(id => id !== CommandIDs.open)) {
    palette?.addItem({ command, category: CATEGORY });
  }
}

// How a page is opened: `place` says of which cluster.
type Open = (page: IPage, place: IPlace) => Promise<unknown>;

// The command that opens a page: `page` is its name, `cluster` an id or nothing, which follows the active document.
function addOpen(app: JupyterFrontEnd, pages: Promise<IPage[]>, open: Open): void {
  const titles = new Map<string, IPage>();
  void pages.then(found => found.forEach(page => titles.set(page.name, page)));
  const asked = (args: Args): IPage => {
    const name = String(args.page ?? FIRST_PAGE);
    return titles.get(name) ?? { name, title: name, about: '' };
  };
  app.commands.addCommand(CommandIDs.open, {
    label: args => `Dashboard: ${asked(args).title}`,
    caption: args => asked(args).about,
    icon: himaliaIcon,
    execute: async args => {
      await pages;
      return open(asked(args), { pinned: String(args.cluster ?? ''), id: String(args.id ?? '') });
    }
  });
}

// In JupyterLab: a panel, that is there again when the page is loaded again.
function panels(
  app: JupyterFrontEnd,
  model: ClusterModel,
  themes: IThemeManager | null,
  restorer: ILayoutRestorer | null
): Open {
  const { commands, shell } = app;
  const tracker = new WidgetTracker<PagePanel>({ namespace: 'himalia' });
  const actions = {
    start: () => void commands.execute(CommandIDs.start),
    key: (event: KeyboardEvent) => commands.processKeydownEvent(event),
    insert: (cluster: { id: string }) => void commands.execute(CommandIDs.insert, { cluster: cluster.id })
  };
  void restorer?.restore(tracker, {
    command: CommandIDs.open,
    args: panel => ({ page: panel.content.page.name, cluster: panel.content.pinned, id: panel.id }),
    name: panel => panel.id
  });
  return async (page, place) => {
    const known = tracker.find(one => one.content.page.name === page.name && one.content.pinned === place.pinned);
    const panel = known ?? new PagePanel(model, themes, actions, page, place);
    if (!known) {
      const beside = tracker.currentWidget; // the first page gets a place of its own, the others share it
      panel.content.pinnedChanged.connect(() => void tracker.save(panel));
      await tracker.add(panel);
      shell.add(panel, 'main', beside ? { mode: 'tab-after', ref: beside.id } : { mode: 'split-right' });
    }
    shell.activateById(panel.id);
    return panel;
  };
}

// In Notebook 7, which has room for one document: a tab of the browser.
function browserTabs(app: JupyterFrontEnd, model: ClusterModel): Open {
  return async (page, place) => {
    const cluster = (place.pinned ? model.find(place.pinned) : model.active) ?? model.clusters[0];
    if (cluster?.has_dashboard) {
      window.open(model.api.pageUrl(cluster.id, page.name), '_blank', 'noopener');
    } else {
      await app.commands.execute(CommandIDs.show); // says what to do
    }
    return null;
  };
}

export default plugin;
