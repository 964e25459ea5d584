// The slider through the recorded run: the present at its right end, and every moment before it.

import { clock, element } from "./format.js";

const STEPS = 1000; // of the slider, for keys
const PLAYED_IN = 20; // seconds that a whole run takes when it is played …
const FASTEST = 0.25; // … and seconds between two moments of it

export class TravelBar {
  // travel(at) asks for a moment; null: for the present.
  constructor(travel) {
    this.travel = travel;
    this.at = null;
    this.record = [0, 0];
    this.node = element("div", "hm-travel");
    this.play = element("button", "hm-button", "Play");
    this.play.type = "button";
    this.play.addEventListener("click", () => this.toggle());
    this.slider = element("input");
    this.slider.type = "range";
    this.slider.setAttribute("aria-label", "Moment of the recorded run");
    this.slider.addEventListener("input", () => {
      this.stop();
      this.want(this.isAtEnd() ? null : Number(this.slider.value));
    });
    this.text = element("span", "hm-travel-time");
    this.live = element("button", "hm-button", "Live");
    this.live.type = "button";
    this.live.addEventListener("click", () => {
      this.stop();
      this.want(null);
    });
    this.node.append(this.play, this.slider, this.text, this.live);
    this.draw();
  }

  isAtEnd() {
    return Number(this.slider.value) >= Number(this.slider.max);
  }

  // One question at a time: the newest one waits for the answer to the one before.
  want(at) {
    this.wanted = at;
    this.showTime(at);
    if (this.asking) return;
    this.asking = true;
    this.travel(at);
  }

  // The page is at this moment now.
  arrived(at) {
    this.asking = false;
    if (this.wanted !== undefined && this.wanted !== at) this.want(this.wanted);
    else {
      this.wanted = undefined;
      this.at = at;
      this.draw();
    }
  }

  // Asked for the same page anew: what was asked before is not answered any more.
  reset(at) {
    this.asking = false;
    this.wanted = undefined;
    this.at = at;
  }

  known(record) {
    this.record = record;
    this.draw();
  }

  draw() {
    const [begin, end] = this.record;
    this.node.hidden = !(end > begin);
    if (this.node.hidden || this.asking) return;
    this.slider.min = begin;
    this.slider.max = end;
    this.slider.step = Math.max(0.01, (end - begin) / STEPS);
    this.slider.value = this.at ?? end;
    this.showTime(this.at);
  }

  showTime(at) {
    this.text.textContent = at === null ? "now" : clock(at);
    this.live.hidden = at === null;
    this.node.classList.toggle("hm-past", at !== null);
  }

  toggle() {
    if (this.timer) {
      this.stop();
      return;
    }
    this.play.textContent = "Pause";
    const [begin, end] = this.record;
    const from = this.at === null ? begin : this.at;
    const speed = Math.max(1, (end - begin) / PLAYED_IN);
    const started = performance.now();
    const step = () => {
      const at = from + ((performance.now() - started) / 1000) * speed;
      if (at >= this.record[1]) {
        this.stop();
        this.want(null);
      } else this.want(at);
    };
    this.timer = setInterval(step, FASTEST * 1000);
    step();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "Play";
  }
}
