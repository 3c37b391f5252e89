"use strict";

/** Train two equal networks on the same few noisy points, one of them with dropout. */
(() => {
  const TRAIN = 100, TEST = 600, RATE = 0.05, WIDTH = 64, END = 2000, SCATTER = 0.15, LIMIT = 2.1, GRID = 48;
  const slider = element("training-p"), noise = element("training-noise"), drawing = element("training-curves");
  const NAMES = ["without", "with"];
  const state = { sample: 1, updates: 0, errors: {}, running: false };
  let train, test, nets, past;

  /** Draw points of two half moons; some points get the wrong label. */
  function moons(count, random, wrong) {
    return Array.from({ length: count }, (_, i) => {
      const moon = i % 2, angle = Math.PI * random.uniform();
      const x = moon ? 1 - Math.cos(angle) : Math.cos(angle);
      const y = moon ? 0.5 - Math.sin(angle) : Math.sin(angle);
      const point = [(x - 0.5 + SCATTER * random.normal()) * 1.1, (y - 0.25 + SCATTER * random.normal()) * 1.5];
      return { x: point, label: random.uniform() < wrong ? 1 - moon : moon };
    });
  }

  /** Start again; the same sample number gives the same points, initial weights and masks. */
  function reset() {
    const random = generator(state.sample);
    train = moons(TRAIN, random, Number(noise.value));
    test = moons(TEST, random, 0);
    nets = Object.fromEntries(NAMES.map((name) => [name, new Net(WIDTH, generator(state.sample + 100))]));
    past = [];
    state.updates = 0;
    measure();
    draw();
  }

  function step(count) {
    for (let i = 0; i < count; i++) {
      nets.without.update(train, 0, RATE);
      nets.with.update(train, Number(slider.value), RATE);
      state.updates += 1;
      if (state.updates % 20 === 0) measure();
    }
  }

  function measure() {
    for (const name of NAMES)
      state.errors[name] = { train: nets[name].error(train), test: nets[name].error(test) };
    past.push({ updates: state.updates, errors: structuredClone(state.errors) });
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Draw the predicted class of each place, with a stronger colour if more certain, and the points. */
  function drawNet(canvas, net) {
    const pen = canvas.getContext("2d"), side = canvas.width;
    const small = document.createElement("canvas");
    small.width = small.height = GRID;
    const brush = small.getContext("2d");
    for (let row = 0; row < GRID; row++)
      for (let column = 0; column < GRID; column++) {
        const x = ((column + 0.5) / GRID) * 2 * LIMIT - LIMIT;
        const y = LIMIT - ((row + 0.5) / GRID) * 2 * LIMIT;
        const chance = 1 / (1 + Math.exp(-net.forward([x, y])));
        brush.globalAlpha = 0.06 + 0.42 * Math.abs(2 * chance - 1);
        brush.fillStyle = colours[chance > 0.5 ? 1 : 0];
        brush.fillRect(column, row, 1, 1);
      }
    pen.fillStyle = colours.page;
    pen.fillRect(0, 0, side, side);
    pen.drawImage(small, 0, 0, side, side);
    pen.strokeStyle = colours.page;
    pen.lineWidth = side / 220;
    for (const { x, label } of train) {
      const across = ((x[0] + LIMIT) / (2 * LIMIT)) * side, down = ((LIMIT - x[1]) / (2 * LIMIT)) * side;
      pen.beginPath();
      // Both shape and colour show the class.
      if (label) pen.arc(across, down, side / 70, 0, 2 * Math.PI);
      else pen.rect(across - side / 80, down - side / 80, side / 40, side / 40);
      pen.fillStyle = colours[label];
      pen.fill();
      pen.stroke();
    }
  }

  function drawCurves() {
    const { across, down } = chart(drawing, Math.max(END, state.updates), 50, false);
    for (const kind of ["train", "test"])
      for (const name of NAMES) {
        const points = past.map(({ updates, errors }) => [across(updates), down(Math.min(50, 100 * errors[name][kind]))]);
        drawing.append(shape("path", { class: `curve ${name} ${kind}`, d: through(points) }));
      }
  }

  const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
  let colours;

  function draw() {
    colours = { 0: colour("--zero"), 1: colour("--one"), page: colour("--page") };
    for (const name of NAMES) {
      drawNet(element(`training-${name}`), nets[name]);
      for (const kind of ["train", "test"])
        element(`training-${name}-${kind}`).textContent = percent(state.errors[name][kind]);
    }
    drawCurves();
    element("training-updates").textContent = state.updates.toLocaleString("en");
    element("training-sample").textContent = state.sample;
    element("training-p-shown").textContent = Number(slider.value).toFixed(2);
    element("training-noise-shown").textContent = Number(noise.value).toFixed(2);
  }

  function frame() {
    if (!state.running) return;
    step(20);
    draw();
    if (state.updates % END === 0) toggle(false);
    else requestAnimationFrame(frame);
  }

  function toggle(running) {
    state.running = running;
    element("training-play").textContent = running ? "Pause" : "Train";
    // Tell screen readers the result when training pauses, not at every frame.
    element("training-said").textContent = running || !state.updates ? "" :
      `After ${state.updates.toLocaleString("en")} updates the test error is ${percent(state.errors.without.test)} without dropout and ${percent(state.errors.with.test)} with it.`;
    if (running) requestAnimationFrame(frame);
  }

  /** Start from the first update, because the results belong to one rate, noise and sample. */
  function again() {
    reset();
    if (!state.running) toggle(false);
  }

  element("training-play").addEventListener("click", () => toggle(!state.running));
  element("training-step").addEventListener("click", () => { step(100); draw(); toggle(false); });
  element("training-reset").addEventListener("click", () => { state.running = false; again(); });
  element("training-other").addEventListener("click", () => { state.sample += 1; again(); });
  noise.addEventListener("input", again);
  slider.addEventListener("input", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  reset();
  step(200);  // show something before the first click
  draw();
  window.explain.training = state;
  window.explain.train = (count) => { step(count); draw(); };
})();
