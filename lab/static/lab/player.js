"use strict";
// Plays a run's drawings back in slow motion: one cursor for all lanes. What lies behind the cursor
// in time is veiled, and the parts that it meets are marked in the list. Without this file, and with reduced motion, the last frame is shown.
const SVG = "http://www.w3.org/2000/svg";
const STEP_MILLISECONDS_MIN = 0.05;

function percent(text) {
  return parseFloat(text) / 100;
}

// A lane: its plot, the veil and the cursor over it, and each label with the moment it is earned.
function laneOf(figure) {
  const drawing = figure.querySelector("svg.timeline");
  const plot = drawing.querySelector(":scope > svg");
  const veil = document.createElementNS(SVG, "rect");
  veil.setAttribute("class", "veil");
  veil.setAttribute("height", "100%");
  const cursor = document.createElementNS(SVG, "line");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("y2", "100%");
  plot.append(veil, cursor);
  const ends = [...plot.querySelectorAll(":scope > svg[class]")].map((bar) => {
    const parts = [...bar.querySelectorAll("rect")].map((part) => {
      const start = percent(part.getAttribute("x"));
      return [start, start + percent(part.getAttribute("width"))];
    });
    return parts.flat();
  });
  const labels = [...drawing.querySelectorAll(":scope > text:not(.count):not(.quiet)")];
  const parts = [...figure.querySelectorAll("[data-spans]")].map((item) => {
    return [item, item.dataset.spans.split(" ").map((span) => span.split("-").map(Number))];
  });
  return {veil, cursor, ends, labels, parts};
}

function show(lanes, part) {
  for (const {veil, cursor, ends, labels, parts} of lanes) {
    veil.setAttribute("x", `${100 * part}%`);
    veil.setAttribute("width", `${100 * (1 - part)}%`);
    cursor.setAttribute("x1", `${100 * part}%`);
    cursor.setAttribute("x2", `${100 * part}%`);
    labels.forEach((label, number) => {
      const end = ends[number] ? Math.max(...ends[number]) : 1;
      label.classList.toggle("ahead", Math.min(end, 1) > part + 1e-9);
    });
    for (const [item, spans] of parts) {
      item.classList.toggle("now", spans.some(([start, end]) => start <= part && part < end));
    }
  }
}

function startPlayer(section) {
  const player = section.querySelector(".player");
  const [play, step] = player.querySelectorAll("button");
  const [slider, output, speed] = ["input", "output", "select"].map((name) => player.querySelector(name));
  const length = Number(player.dataset.ms);
  const lanes = [...section.querySelectorAll(".lane")].map(laneOf);
  const moments = [...new Set(lanes.flatMap((lane) => lane.ends.flat()).map((part) => part * length))]
    .sort((one, other) => one - other);
  let playing = null;

  function seek(ms) {
    const at = Math.min(Math.max(ms, 0), length);
    slider.value = at;
    output.value = `${Math.round(at)} ${output.dataset.unit}`;
    show(lanes, at / length);
    return at < length;
  }
  function pause() {
    cancelAnimationFrame(playing);
    playing = null;
    play.textContent = play.dataset.play;
  }
  function resume() {
    let last = null;
    if (Number(slider.value) >= length) seek(0);
    play.textContent = play.dataset.pause;
    const frame = (now) => {
      const goesOn = seek(Number(slider.value) + (now - (last ?? now)) * Number(speed.value));
      last = now;
      if (goesOn) playing = requestAnimationFrame(frame);
      else pause();
    };
    playing = requestAnimationFrame(frame);
  }
  play.addEventListener("click", () => (playing === null ? resume() : pause()));
  step.addEventListener("click", () => {
    pause();
    const now = Number(slider.value) >= length ? -1 : Number(slider.value);
    seek(moments.find((ms) => ms > now + STEP_MILLISECONDS_MIN) ?? length);
  });
  slider.addEventListener("input", () => {
    pause();
    seek(Number(slider.value));
  });
  player.hidden = false;
  seek(length);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) resume();
}

const over = document.getElementById("lanes");
if (over) startPlayer(over);
