// Bundles the gallery into the Python package: one script, one style sheet, and the licences of
// what the script contains.
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.join(here, "../blip2_widget/notebook/static");

// The script travels to the page with every widget and is saved into notebooks: it has to stay small.
const LIMIT = 150 * 1024;

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { gallery: "src/index.ts" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  charset: "utf8",
  legalComments: "none",
  target: ["es2022", "chrome111", "firefox113", "safari16.4"],
  metafile: true,
});

const inputs = Object.keys(metafile.inputs).join("\n");
const packages = [...new Set(inputs.match(/node_modules\/(@[^/]+\/)?[^/]+/g))].sort();
const licences = await Promise.all(
  packages.map(async (folder) => {
    const files = await readdir(path.join(here, folder));
    const licence = files.find((file) => /^licen[cs]e/i.test(file));
    if (!licence) throw new Error(`${folder} has no licence file`);
    const text = await readFile(path.join(here, folder, licence), "utf8");
    return `${folder.replace("node_modules/", "")}\n\n${text.trim()}\n`;
  }),
);
await writeFile(path.join(out, "gallery.licenses.txt"), licences.join("\n----\n\n"));

let total = 0;
for (const file of ["gallery.js", "gallery.css"]) {
  const bytes = await readFile(path.join(out, file));
  const packed = gzipSync(bytes, { level: 9 }).length;
  total += packed;
  console.log(`${file}  ${bytes.length} bytes, ${packed} gzipped`);
}
if (total > LIMIT) {
  console.error(`the bundle is ${total} bytes gzipped, over its limit of ${LIMIT}`);
  process.exit(1);
}
