// What the Jupyter server's part of the extension is asked (handlers.py). ServerConnection adds its check against
// forged requests, and knows the server's prefix.

import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface IUse {
  used: number;
  total: number;
  most: number; // what it grows to while work waits; 0: it does not
}

export interface IDriver {
  pid: number;
  program: string;
  kernel: string; // id of the Jupyter kernel that it is; empty: none of this server's
}

export interface ICluster {
  id: string;
  name: string;
  started: number; // seconds since the epoch
  nodes: number;
  cpus: IUse;
  gpus: IUse;
  memory: IUse; // of the object store, bytes
  tasks: { running: number; waiting: number; rate: number };
  drivers: IDriver[];
  owner: number; // pid of the driver whose end ends it; 0: none
  ends_with_server: boolean;
  has_dashboard: boolean;
  problem: string; // why the rest is not known; empty: it is
}

export interface IPage {
  name: string;
  title: string;
  about: string;
}

export interface IStart {
  name?: string;
  cpus?: number;
  object_store_memory?: number;
  keep?: boolean;
}

export class Api {
  private readonly _settings = ServerConnection.makeSettings();

  clusters(): Promise<ICluster[]> {
    return this._ask('api/clusters');
  }

  pages(): Promise<IPage[]> {
    return this._ask('api/pages');
  }

  async start(options: IStart): Promise<string> {
    const answer = await this._ask<{ id: string }>('api/clusters', 'POST', options);
    return answer.id;
  }

  async stop(cluster: string): Promise<void> {
    await this._ask(`api/clusters/${cluster}`, 'DELETE');
  }

  async scale(cluster: string, cpus: number): Promise<void> {
    await this._ask(`api/clusters/${cluster}/scale`, 'POST', { cpus });
  }

  // Where a page of a cluster's dashboard is, by way of the Jupyter server: in a browser tab of its own, and in a panel.
  pageUrl(cluster: string, page: string): string {
    return URLExt.join(PageConfig.getBaseUrl(), 'himalia', cluster, 'page', page);
  }

  panelUrl(cluster: string, page: string, theme: string): string {
    return `${this.pageUrl(cluster, page)}?embed=1&theme=${theme}`;
  }

  private async _ask<T>(place: string, method = 'GET', body?: object): Promise<T> {
    const url = URLExt.join(this._settings.baseUrl, 'himalia', place);
    const init: RequestInit = { method };
    if (body) {
      init.body = JSON.stringify(body);
    }
    const answer = await ServerConnection.makeRequest(url, init, this._settings);
    const text = await answer.text();
    if (!answer.ok) {
      throw new Error(reason(text) || `${answer.status} ${answer.statusText}`);
    }
    return JSON.parse(text);
  }
}

function reason(text: string): string {
  try {
    return JSON.parse(text).message ?? '';
  } catch {
    return ''; // not ours: a proxy between us and the server
  }
}
