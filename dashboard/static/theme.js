// What the stand-ins of themes.py are in the light and in the dark.

const COLOURS = {
  light: { "#fe0001": "#24292f", "#fe0002": "#5b6570", "#fe0003": "#dfe3e8", "#fe0004": "#ffffff" },
  dark: { "#fe0001": "#e6e8eb", "#fe0002": "#9aa3ad", "#fe0003": "#33383f", "#fe0004": "#1d2025" },
};

// A Bokeh document with the colours of a theme.
export function painted(item, theme) {
  return JSON.parse(JSON.stringify(item).replace(/#fe000[1-4]/g, (colour) => COLOURS[theme][colour]));
}
