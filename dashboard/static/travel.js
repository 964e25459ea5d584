// The slider through the recorded run: the present at its right end, and every moment before it. Where several jobs are
// recorded, one of them can be chosen: the slider is its run then.

import { clock, element } from "./format.js";

const STEPS = 1000; // of the slider, for keys
const PLAYED_IN = 20; // seconds that a whole run takes when it is played …
const FASTEST = 0.25; // … and seconds between two moments of it

export class TravelBar {
  // travel(at) asks for a moment; null: for the present. choose(job) asks for one job; "": for all.
  constructor(travel, choose) {
    this.travel = travel;
    this.jobs = [];
    this.job = "";
    this.isOver = false; // that job has ended: the right end is its end
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
    this.select = element("select");
    this.select.setAttribute("aria-label", "Job that is shown");
    this.select.addEventListener("change", () => {
      this.stop();
      choose(this.select.value);
    });
    this.bar = element("div", "hm-travel-bar");
    this.bar.append(this.play, this.slider, this.text, this.live);
    this.node.append(this.select, this.bar);
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
  reset(at, job) {
    this.asking = false;
    this.wanted = undefined;
    this.at = at;
    if (job !== this.job) this.stop();
    this.job = job;
    this.drawJobs();
  }

  known(record, isOver = this.isOver) {
    this.record = record;
    this.isOver = isOver;
    this.draw();
  }

  // Jobs that can be chosen: ids and labels.
  choices(jobs) {
    this.jobs = jobs;
    this.drawJobs();
  }

  drawJobs() {
    const jobs = [["", "All jobs"], ...this.jobs];
    if (!jobs.some(([id]) => id === this.job)) jobs.push([this.job, this.job]);
    this.select.hidden = jobs.length < 3 && !this.job;
    const options = jobs.map(([id, label]) => {
      const option = element("option", "", label);
      option.value = id;
      return option;
    });
    if (document.activeElement !== this.select || options.length !== this.select.options.length) {
      this.select.replaceChildren(...options);
    }
    this.select.value = this.job;
    this.draw();
  }

  draw() {
    const [begin, end] = this.record;
    this.bar.hidden = !(end > begin);
    this.node.hidden = this.bar.hidden && this.select.hidden;
    if (this.bar.hidden || this.asking) return;
    this.slider.min = begin;
    this.slider.max = end;
    this.slider.step = Math.max(0.01, (end - begin) / STEPS);
    this.slider.value = this.at ?? end;
    this.showTime(this.at);
  }

  showTime(at) {
    this.text.textContent = at !== null ? clock(at) : this.isOver ? "its end" : "now";
    this.live.textContent = this.isOver ? "End" : "Live";
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
