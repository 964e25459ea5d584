// The side bar: clusters with what they do and what may be done to them, and the pages of the dashboard.

import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { ICluster, IPage, IUse } from './api';
import { CommandIDs } from './commands';
import { himaliaIcon } from './icon';
import { ClusterModel } from './model';
import { bytes, endOf, nameOf, plural, tasksOf, useOf, usersOf } from './words';

export class SideBar extends ReactWidget {
  constructor(
    private readonly _model: ClusterModel,
    private readonly _commands: CommandRegistry
  ) {
    super();
    this.id = 'himalia-clusters';
    this.addClass('himalia-SideBar');
    this.title.icon = himaliaIcon;
    this.title.caption = 'Himalia: clusters and their dashboards';
  }

  // Known some time after the start, by what the server answers.
  set pages(pages: IPage[]) {
    this._pages = pages;
    this.update();
  }

  protected onActivateRequest(): void {
    this.node.querySelector<HTMLElement>('button:not([disabled])')?.focus();
  }

  protected render(): JSX.Element {
    const run = (command: string, args = {}) => void this._commands.execute(command, args);
    return (
      <UseSignal signal={this._model.changed}>
        {() => (
          <>
            <Clusters model={this._model} run={run} />
            <Pages pages={this._pages} kind={this._model.documents.kind} run={run} />
          </>
        )}
      </UseSignal>
    );
  }

  private _pages: IPage[] = [];
}

type Run = (command: string, args?: Record<string, string>) => void;

function Clusters({ model, run }: { model: ClusterModel; run: Run }): JSX.Element {
  return (
    <section aria-label="Clusters">
      <header className="himalia-Header">
        <h2>Clusters</h2>
        <button className="jp-mod-styled" onClick={() => run(CommandIDs.start)}>
          Start…
        </button>
      </header>
      {model.problem && (
        <p role="alert" className="himalia-Problem">
          The Jupyter server does not say which clusters run: {model.problem}
        </p>
      )}
      {model.isKnown && !model.clusters.length && (
        <p className="himalia-Hint">
          No cluster of yours runs on this machine. Start one here, or in a notebook with <code>%load_ext himalia</code>{' '}
          and <code>%cluster start</code>.
        </p>
      )}
      <ul>
        {model.clusters.map(cluster => (
          <Cluster key={cluster.id} cluster={cluster} model={model} run={run} />
        ))}
      </ul>
    </section>
  );
}

function Cluster({ cluster, model, run }: { cluster: ICluster; model: ClusterModel; run: Run }): JSX.Element {
  const isActive = model.active?.id === cluster.id;
  const users = usersOf(model, cluster);
  const name = nameOf(cluster);
  const action = (text: string, command: string, about: string, off = ''): JSX.Element => (
    <button
      className="jp-mod-styled"
      title={off || about}
      aria-label={`${text.replace('…', '')}: ${name}`}
      disabled={!!off}
      onClick={() => run(command, { cluster: cluster.id })}
    >
      {text}
    </button>
  );
  return (
    <li className={isActive ? 'himalia-Cluster himalia-mod-active' : 'himalia-Cluster'} data-cluster={cluster.id}>
      <h3 title={cluster.id}>
        {name}
        {isActive && <span className="himalia-Badge">this {model.documents.kind}</span>}
      </h3>
      {cluster.problem ? (
        <p role="alert" className="himalia-Problem">
          {cluster.problem}
        </p>
      ) : (
        <dl>
          <Use title="CPUs" use={cluster.cpus} />
          {cluster.gpus.total > 0 && <Use title="GPUs" use={cluster.gpus} />}
          <Use title="Objects" use={cluster.memory} show={bytes} />
          <Row title="Tasks" text={tasksOf(cluster)} />
          {cluster.nodes > 1 && <Row title="Nodes" text={plural(cluster.nodes, 'node')} />}
          <Row title="Used by" text={users.join(', ') || 'nobody'} />
          <Row title="Ends" text={endOf(cluster)} />
        </dl>
      )}
      <div className="himalia-Actions">
        {action('Connect', CommandIDs.connect, 'Insert the cell that connects the active notebook or console, and run it', model.obstacle)}
        {action('Insert cell', CommandIDs.insert, 'Insert the cell that connects the active notebook or console', model.obstacle)}
        {action(
          'Scale…',
          CommandIDs.scale,
          'Change how many CPUs it has',
          cluster.nodes > 1 ? 'Nodes are added with himalia start, and ended with himalia stop' : cluster.problem
        )}
        {action('Stop…', CommandIDs.stop, 'End it')}
      </div>
    </li>
  );
}

function Use({ title, use, show }: { title: string; use: IUse; show?: (value: number) => string }): JSX.Element {
  const share = use.total ? Math.min(1, Math.max(0, use.used / use.total)) : 0;
  return (
    <>
      <dt>{title}</dt>
      <dd>
        {useOf(use, show)}
        <span className="himalia-Bar" aria-hidden="true">
          <span style={{ width: `${share * 100}%` }} />
        </span>
      </dd>
    </>
  );
}

function Row({ title, text }: { title: string; text: string }): JSX.Element {
  return (
    <>
      <dt>{title}</dt>
      <dd>{text}</dd>
    </>
  );
}

function Pages({ pages, kind, run }: { pages: IPage[]; kind: string; run: Run }): JSX.Element | null {
  if (!pages.length) {
    return null;
  }
  return (
    <section aria-label="Dashboard pages">
      <header className="himalia-Header">
        <h2>Dashboard of the active {kind}</h2>
      </header>
      <ul className="himalia-Pages">
        {pages.map(page => (
          <li key={page.name}>
            <button
              className="jp-mod-styled jp-mod-minimal"
              title={page.about}
              onClick={() => run(CommandIDs.open, { page: page.name })}
            >
              {page.title}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
