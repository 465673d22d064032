// Any text as a manifest.json: what is read can be written, and is then the
// same; all else is refused in one line. Nothing of this comes behind the
// checksum, which few texts would pass: where a text is JSON, it gets the one
// that it should have.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "run/manifest.h"

namespace {

using mumoe::run::Manifest;

/// What would be parsed if somebody had written this.
std::string sealed(const std::string& text) {
  try {
    auto all = mumoe::parse_json(text, "text");
    if (!all.is_object()) return text;
    all.erase("xxh128");
    all["xxh128"] = mumoe::run::hash_of(mumoe::to_text(all));
    return mumoe::to_text(all);
  } catch (const mumoe::InputError&) {
    return text;
  }
}

void parse(const std::string& text) {
  try {
    const Manifest manifest = mumoe::run::parse_manifest(text, "manifest.json");
    const std::string written = mumoe::run::manifest_text(manifest);
    const Manifest again = mumoe::run::parse_manifest(written, "written");
    if (mumoe::run::manifest_text(again) != written) std::abort();
  } catch (const mumoe::run::DamageError& error) {
    const std::string line = error.what();
    if (line.empty() || line.find('\n') != line.npos) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  parse(text);
  parse(sealed(text));
  return 0;
}
