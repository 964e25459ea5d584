// The plugin: a side bar, panels with pages of the dashboard, an item in the status bar, commands.

import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, WidgetTracker } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';

import { Api, IPage } from './api';
import { addCommands, CommandIDs } from './commands';
import { himaliaIcon } from './icon';
import { ClusterModel } from './model';
import { PagePanel } from './panel';
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
  optional: [ICommandPalette, ILayoutRestorer, IThemeManager, IStatusBar],
  activate
};

function activate(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  themes: IThemeManager | null,
  statusBar: IStatusBar | null
): void {
  const { commands, shell } = app;
  const model = new ClusterModel(new Api(), notebooks);
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

  addPages(app, model, palette, restorer, themes, pages => {
    sideBar.pages = pages;
  });
  for (const command of Object.values(CommandIDs).filter(id => id !== CommandIDs.open)) {
    palette?.addItem({ command, category: CATEGORY });
  }
}

// Pages that are open, and the command that opens one: `page` is its name, `cluster` an id or nothing, which follows the
// active notebook.
function addPages(
  app: JupyterFrontEnd,
  model: ClusterModel,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  themes: IThemeManager | null,
  known: (pages: IPage[]) => void
): void {
  const { commands, shell } = app;
  const tracker = new WidgetTracker<PagePanel>({ namespace: 'himalia' });
  const titles = new Map<string, IPage>();
  const actions = {
    start: () => void commands.execute(CommandIDs.start),
    key: (event: KeyboardEvent) => commands.processKeydownEvent(event),
    insert: (cluster: { id: string }) => void commands.execute(CommandIDs.insert, { cluster: cluster.id })
  };
  const loaded = model.api
    .pages()
    .then(pages => {
      pages.forEach(page => titles.set(page.name, page));
      known(pages);
      for (const page of pages) {
        palette?.addItem({ command: CommandIDs.open, category: CATEGORY, args: { page: page.name } });
      }
    })
    .catch(error => console.warn('Himalia: the pages of the dashboard are not known:', error));

  const about = (name: string): IPage => titles.get(name) ?? { name, title: name, about: '' };
  commands.addCommand(CommandIDs.open, {
    label: args => `Dashboard: ${about(String(args.page ?? FIRST_PAGE)).title}`,
    caption: args => about(String(args.page ?? FIRST_PAGE)).about,
    icon: himaliaIcon,
    execute: async args => {
      await loaded;
      const page = about(String(args.page ?? FIRST_PAGE));
      const pinned = String(args.cluster ?? '');
      let panel = tracker.find(one => one.content.page.name === page.name && one.content.pinned === pinned);
      if (!panel) {
        panel = new PagePanel(model, themes, actions, page, { pinned, id: String(args.id ?? '') });
        panel.content.pinnedChanged.connect(() => void (panel && tracker.save(panel)));
        const beside = tracker.currentWidget; // the first page gets a place of its own, the others share it
        await tracker.add(panel);
        shell.add(panel, 'main', beside ? { mode: 'tab-after', ref: beside.id } : { mode: 'split-right' });
      }
      shell.activateById(panel.id);
      return panel;
    }
  });
  void restorer?.restore(tracker, {
    command: CommandIDs.open,
    args: panel => ({ page: panel.content.page.name, cluster: panel.content.pinned, id: panel.id }),
    name: panel => panel.id
  });
}

export default plugin;
