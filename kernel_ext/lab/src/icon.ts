// Jupiter with its moon, in the colours of the theme.

import { LabIcon } from '@jupyterlab/ui-components';

const PICTURE =
  '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 32 32">' +
  '<g class="jp-icon3" fill="#616161"><path d="M14 6a11 11 0 1 0 0 22 11 11 0 0 0 0-22zm0 3a8 8 0 0 1 7.4 5H6.6A8 8 0 ' +
  '0 1 14 9zm-8 8h16.9q.1.5 0 3H5.1q-.1-2 .9-3zm.9 6h14.2A8 8 0 0 1 14 25a8 8 0 0 1-7.1-2z"/>' +
  '<circle cx="27" cy="6" r="3.5"/></g></svg>';

export const himaliaIcon = new LabIcon({ name: 'himalia:icon', svgstr: PICTURE });
