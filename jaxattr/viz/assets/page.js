"use strict";
// Plays the clip and its maps in step. Every picture is a sprite inside this page; maps
// are grey, and coloured here, so that opacity is a slider. Nothing is fetched.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const state = { frame: 0, playing: false, rate: 8, opacity: 0.85, bare: false };
  const { frames: T, width: W, height: H, columns } = data;

  const blank = (width, height) => Object.assign(
    document.createElement("canvas"), { width, height });

  // --- Sprites -----------------------------------------------------------------------
  async function load(uri, count, width = W, height = H) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    return Array.from({ length: count }, (_, i) => {
      const cell = blank(width, height);
      const x = (i % columns) * width, y = Math.floor(i / columns) * height;
      cell.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
      return cell;
    });
  }

  function grey(cell) {
    const { data: rgba } = cell.getContext("2d").getImageData(0, 0, W, H);
    return Uint8Array.from({ length: W * H }, (_, i) => rgba[4 * i]);
  }

  // --- Drawing -----------------------------------------------------------------------
  const colour = Array.from({ length: 768 }, (_, i) => parseInt(data.colours.substr(2 * i, 2), 16));
  const scratch = blank(W, H);
  const brush = scratch.getContext("2d");

  function paint(fill) {
    const image = brush.createImageData(W, H);
    for (let i = 0; i < W * H; i++) fill(image.data, 4 * i, i);
    brush.putImageData(image, 0, 0);
    return scratch;
  }

  function tint(heat) {
    return paint((rgba, at, i) => {
      const h = heat[i], v = h / 255;
      rgba[at] = colour[3 * h];
      rgba[at + 1] = colour[3 * h + 1];
      rgba[at + 2] = colour[3 * h + 2];
      rgba[at + 3] = state.bare ? 255 : 255 * state.opacity * v * (2 - v);
    });
  }

  const dim = mask => paint((rgba, at, i) => { rgba[at + 3] = 0.93 * (255 - mask[i]); });

  function surface(canvas) {
    const width = Math.round((canvas.clientWidth || W) * (window.devicePixelRatio || 1));
    const height = Math.round(width * H / W);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    return context;
  }

  function layers(canvas, ...pictures) {
    const context = surface(canvas);
    for (const picture of pictures) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return context;
  }

  // Marching squares at one half: one or two segments in every cell that is crossed.
  function contour(mask, context, canvas) {
    const scale = canvas.width / W, level = 127.5, path = new Path2D();
    const cut = (a, b) => (level - a) / (b - a);
    for (let y = 0; y < H - 1; y++) for (let x = 0; x < W - 1; x++) {
      const i = y * W + x, a = mask[i], b = mask[i + 1], c = mask[i + W + 1], d = mask[i + W];
      const points = [];
      if (a > level !== b > level) points.push([x + cut(a, b), y]);
      if (b > level !== c > level) points.push([x + 1, y + cut(b, c)]);
      if (d > level !== c > level) points.push([x + cut(d, c), y + 1]);
      if (a > level !== d > level) points.push([x, y + cut(a, d)]);
      for (let k = 0; k + 1 < points.length; k += 2) {
        path.moveTo((points[k][0] + 0.5) * scale, (points[k][1] + 0.5) * scale);
        path.lineTo((points[k + 1][0] + 0.5) * scale, (points[k + 1][1] + 0.5) * scale);
      }
    }
    const unit = window.devicePixelRatio || 1;
    context.lineCap = "round";
    for (const [style, width] of [["rgb(0 0 0 / .75)", 5], ["rgb(0 214 255)", 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = width * unit;
      context.stroke(path);
    }
  }

  // --- The page ----------------------------------------------------------------------
  const scrub = one("#scrub"), clock = one("#clock"), play = one("#play");
  const panels = all("figure[data-heat]").map(figure => ({
    figure, canvas: one("canvas", figure), index: Number(figure.dataset.heat) }));
  const sections = all("section[data-masks]").map((root, index) => ({
    root, index, slider: one("input", root), text: one(".area-text", root),
    edge: one("[data-edge]", root), kept: one("[data-kept]", root),
    stops: all("circle", root), area: 0 }));
  let clip, heats, masks;

  function draw() {
    const t = state.frame;
    layers(one("#clip"), clip[t]);
    for (const { figure, canvas, index } of panels) {
      if (figure.hidden) continue;
      const heat = tint(heats[index][t]);
      layers(canvas, ...(state.bare ? [heat] : [clip[t], heat]));
    }
    for (const section of sections) {
      const mask = masks[section.index][section.area * T + t];
      contour(mask, layers(section.edge, clip[t]), section.edge);
      layers(section.kept, clip[t], dim(mask));
    }
    scrub.value = t;
    scrub.setAttribute("aria-valuetext", data.names[t]);
    clock.textContent = data.names[t];
    for (const strip of all(".strip")) all("rect", strip).forEach(
      (bar, i) => bar.classList.toggle("now", i === t));
  }

  function seek(frame) {
    state.frame = ((frame % T) + T) % T;
    draw();
  }

  let last = 0;
  function tick(now) {
    if (!state.playing) return;
    if (now - last >= 1000 / state.rate) {
      last = now;
      seek(state.frame + 1);
    }
    requestAnimationFrame(tick);
  }

  function run(playing) {
    state.playing = playing;
    play.classList.toggle("playing", playing);
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (playing) requestAnimationFrame(tick);
  }

  function choose(section, area) {
    section.area = area;
    section.slider.value = area;
    const sentence = data.masks[section.index].sentences[area];
    section.slider.setAttribute("aria-valuetext", sentence);
    section.text.textContent = sentence;
    section.stops.forEach(stop => stop.classList.toggle("now", Number(stop.dataset.area) === area));
    draw();
  }

  function listen() {
    play.onclick = () => run(!state.playing);
    one("#back").onclick = () => { run(false); seek(state.frame - 1); };
    one("#next").onclick = () => { run(false); seek(state.frame + 1); };
    scrub.oninput = () => { run(false); seek(Number(scrub.value)); };
    one("#rate").onchange = event => { state.rate = Number(event.target.value); };
    one("#opacity").oninput = event => { state.opacity = event.target.value / 100; draw(); };
    one("#view").onchange = event => { state.bare = event.target.value === "bare"; draw(); };
    for (const { figure, index } of panels) one("#show-" + index).onchange = event => {
      figure.hidden = !event.target.checked;
      draw();
    };
    for (const canvas of all("figure canvas")) canvas.onclick = () => run(!state.playing);
    for (const strip of all(".strip")) strip.onclick = event => {
      const box = strip.getBoundingClientRect();
      run(false);
      seek(Math.min(T - 1, Math.floor((event.clientX - box.left) / box.width * T)));
    };
    for (const section of sections) {
      section.slider.oninput = () => choose(section, Number(section.slider.value));
      for (const stop of section.stops) stop.onclick = () => choose(section, Number(stop.dataset.area));
    }
    document.addEventListener("keydown", event => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const tag = event.target.tagName, range = event.target.type === "range";
      if (event.key === " " && tag !== "BUTTON" && tag !== "SELECT" && event.target.type !== "checkbox") {
        event.preventDefault();
        run(!state.playing);
      } else if (tag !== "SELECT" && !range && event.key in keys) {
        event.preventDefault();
        run(false);
        keys[event.key]();
      }
    });
    new ResizeObserver(draw).observe(one(".panels"));
  }
  const keys = {
    ArrowLeft: () => seek(state.frame - 1), ArrowRight: () => seek(state.frame + 1),
    Home: () => seek(0), End: () => seek(T - 1),
  };

  function legend() {
    const canvas = one("#legend");
    Object.assign(canvas, { width: 256, height: 1 });
    const context = canvas.getContext("2d"), image = context.createImageData(256, 1);
    for (let i = 0; i < 256; i++) image.data.set([...colour.slice(3 * i, 3 * i + 3), 255], 4 * i);
    context.putImageData(image, 0, 0);
  }

  async function start() {
    clip = await load(data.clip, T, data.pictureWidth, data.pictureHeight);
    heats = await Promise.all(data.heats.map(async uri => (await load(uri, T)).map(grey)));
    masks = await Promise.all(data.masks.map(
      async m => (await load(m.sprite, T * m.sentences.length)).map(grey)));
    legend();
    listen();
    sections.forEach(section => choose(section, 0));
    draw();
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) run(true);
    document.body.dataset.ready = "frames:" + T + " maps:" + heats.length + " masks:" + masks.length;
  }

  const fail = error => { document.body.dataset.error = String(error); };
  window.addEventListener("error", event => fail(event.message));
  start().catch(fail);
})();
