// Reads AsyncAPI documents with the reference parser: every diagnostic is printed, and an error or a warning is exit code 1.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

// That there is a newer version of AsyncAPI is no fault of the document.
const IGNORED = new Set(["asyncapi-latest-version"]);
const SEVERITIES = ["error", "warning", "information", "hint"];

let failed = false;
for (const path of process.argv.slice(2)) {
  const { document, diagnostics } = await new Parser().parse(await readFile(path, "utf8"));
  for (const { severity, code, message, path: where, range } of diagnostics) {
    if (IGNORED.has(code)) continue;
    console.log(`${path}:${range.start.line + 1}: ${SEVERITIES[severity]} ${code}: ${message} (${where.join(".")})`);
    failed ||= severity <= 1;
  }
  if (document === undefined) failed = true;
  else console.log(`${path}: AsyncAPI ${document.version()}, ${document.channels().length} channels, ${document.operations().length} operations`);
}
process.exitCode = failed ? 1 : 0;
