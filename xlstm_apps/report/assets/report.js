(() => {
  "use strict";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = [];
  let paper = false; // printing: white, and as wide as a sheet of A4 or Letter between its margins

  // Colours are named in the figures and looked up here, so one figure serves light, dark and print.
  const resolve = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("var(") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) {
      // A list of numbers holds no colour; a stop of a colour scale, [0, "var(--paper)"], does.
      const plain = value.length && typeof value[0] === "number" && typeof value[value.length - 1] !== "string";
      return plain ? value : value.map((v) => resolve(v, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, style)]));
    }
    return value;
  };

  const axis = (own, ink, narrow) => ({
    automargin: true, gridcolor: ink.line, linecolor: ink.strong, zerolinecolor: ink.strong, zeroline: false, ticks: "",
    ...own,
    title: { ...(own && own.title), font: { size: 13, color: ink.muted }, standoff: 12 },
    tickfont: { size: narrow ? 11 : 12, color: ink.muted },
  });

  const draw = (chart) => {
    const style = getComputedStyle(root);
    const color = (name) => style.getPropertyValue(name).trim();
    const ink = { text: color("--ink"), muted: color("--ink-3"), line: color("--line"), strong: color("--line-strong"), paper: color("--paper") };
    const { data: traces, layout } = resolve({ data: chart.figure.data, layout: chart.figure.layout }, style);
    const data = traces.map((trace) => ({ ...trace, x: chart.figure.x[trace.x] }));
    const width = paper ? (chart.div.closest(".row") ? 320 : 680) : chart.div.clientWidth;
    const narrow = width < 520;
    const legend = layout.showlegend !== false && data.filter((t) => t.showlegend !== false).length > 1;
    // Below the plot: tick labels (two lines for dates), the title of the axis, then the legend.
    const dated = data.some((t) => typeof t.x?.[0] === "string");
    const below = 26 + (dated ? 16 : 0) + (layout.xaxis?.title ? 28 : 0);
    const top = layout.annotations ? 30 : 12;
    const height = Math.max(chart.div.clientHeight - top - below - (legend ? 30 : 0), 60);
    const full = {
      hovermode: "x unified", dragmode: narrow ? false : "zoom", showlegend: legend,
      ...layout,
      paper_bgcolor: ink.paper, plot_bgcolor: ink.paper, autosize: !paper, width: paper ? width : undefined,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink.text },
      margin: { l: 8, r: 16, t: top, b: 8 },
      legend: { orientation: "h", x: 0, xanchor: "left", y: -below / height, yanchor: "top", font: { size: 13 }, bgcolor: "rgba(0,0,0,0)" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink.muted, activecolor: ink.text },
      hoverlabel: { bgcolor: ink.paper, bordercolor: ink.strong, font: { color: ink.text, size: 13 }, namelength: 40 },
      xaxis: { showgrid: false, showline: true, spikecolor: ink.muted, spikethickness: 1, spikedash: "solid", ...axis(layout.xaxis, ink, narrow), nticks: narrow ? 4 : undefined },
      yaxis: { ...axis(layout.yaxis, ink, narrow) },
    };
    // Named one by one: plotly's own choice of buttons has one that uploads the figure.
    const config = {
      displaylogo: false, responsive: true, showTips: false, plotlyServerURL: "",
      modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]],
    };
    try {
      Plotly.react(chart.div, data, full, config).catch((error) => failed(chart.div, error));
    } catch (error) {
      failed(chart.div, error);
    }
  };

  const failed = (div, error) => {
    console.error(error);
    div.classList.add("failed");
    div.textContent = "This chart could not be drawn; the tables hold the numbers.";
  };

  const redraw = () => charts.filter((chart) => chart.figure).forEach(draw);
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  document.querySelectorAll(".chart[data-figure]").forEach((div) => {
    charts.push({ div, figure: read(div.dataset.figure) });
  });

  document.querySelectorAll("[data-panels]").forEach((box) => {
    const { keys, figures } = read(box.dataset.panels);
    const chart = { div: box.querySelector(".chart"), figure: figures[0] };
    const chooser = box.querySelector(".chooser");
    const selects = [...chooser.querySelectorAll("select")];
    const thumbnails = [...box.querySelectorAll("[data-panel]")];
    const label = chart.div.getAttribute("aria-label");
    let current = 0;
    charts.push(chart);

    // Each select offers what is left after the choices before it.
    const offer = (depth) => {
      const chosen = keys[current].slice(0, depth).join("\u0000");
      const options = keys.filter((key) => key.slice(0, depth).join("\u0000") === chosen).map((key) => key[depth]);
      selects[depth].replaceChildren(...[...new Set(options)].map((text) => {
        const short = text.length > 70 ? `${text.slice(0, 40)}…${text.slice(-28)}` : text;
        const option = new Option(short, text, false, text === keys[current][depth]);
        option.title = text;
        return option;
      }));
      selects[depth].closest("label").hidden = false;
    };
    const show = (index, drawing = true) => {
      current = index;
      chart.figure = figures[index];
      selects.forEach((_, depth) => offer(depth));
      thumbnails.forEach((t) => t.setAttribute("aria-pressed", keys[t.dataset.panel][0] === keys[index][0]));
      chart.div.setAttribute("aria-label", `${label} ${keys[index].join(", ")}`);
      if (drawing) draw(chart);
    };
    selects.forEach((select, depth) => select.addEventListener("change", () => {
      const wanted = [...keys[current].slice(0, depth), select.value];
      const matches = (key) => wanted.every((part, i) => key[i] === part);
      // Changing the series keeps the cutoff where that series has it too.
      const rest = keys[current].slice(depth + 1);
      const same = keys.findIndex((key) => matches(key) && rest.every((part, i) => key[depth + 1 + i] === part));
      show(same >= 0 ? same : keys.findIndex(matches));
    }));
    chooser.querySelectorAll("[data-step]").forEach((button) => button.addEventListener("click", () => {
      show((current + Number(button.dataset.step) + keys.length) % keys.length);
    }));
    thumbnails.forEach((t) => t.addEventListener("click", () => show(Number(t.dataset.panel))));
    chooser.hidden = keys.length < 2;
    show(0, false);
  });

  // Sorting: the heading becomes a button; values that are missing stay last either way.
  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("number");
        const falling = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : numeric;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const value = (row) => {
          const raw = row.cells[column].dataset.sort;
          if (raw === undefined) return null;
          return numeric ? (raw === "inf" ? Infinity : raw === "-inf" ? -Infinity : Number(raw)) : raw;
        };
        const compare = (a, b) => (numeric ? (a === b ? 0 : a < b ? -1 : 1) : a.localeCompare(b, undefined, { numeric: true }));
        const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
        rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : falling ? compare(b, a) : compare(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  });

  document.querySelectorAll(".copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  });

  // Theme: follows the system until the reader chooses.
  const toggle = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const relabel = () => { toggle.textContent = isDark() ? "Light theme" : "Dark theme"; };
  toggle.hidden = false;
  relabel();
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; relabel(); redraw(); });
  dark.addEventListener("change", () => { relabel(); redraw(); });

  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    paper = true;
    document.querySelectorAll("details").forEach((folded) => { folded.open = true; });
    redraw();
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    paper = false;
    redraw();
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    });
  }, { rootMargin: "0px 0px -75% 0px" });
  document.querySelectorAll("section[id]").forEach((section) => links.has(section.id) && seen.observe(section));

  redraw();
})();
