#include "data/text/corpus.h"

#include <fmt/format.h>
#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "data/fetch.h"
#include "data/text/folder_walk.h"
#include "data/text/forms.h"
#include "data/text/token_file.h"

namespace mumoe::data {
namespace {

/// Bytes that are not UTF-8, counted over a corpus.
struct Oddities {
  std::uint64_t invalid = 0, texts = 0, marks = 0;
  std::string first;

  void add(const Document& document, const TextFindings& found) {
    marks += found.byte_order_mark;
    invalid += found.invalid;
    if (found.invalid == 0 || texts++ > 0) return;
    first = fmt::format("{} at offset {}",
                        printable(document.name),
                        found.first_invalid);
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> lines;
    if (invalid > 0) {
      lines.push_back(
          fmt::format("{} bytes in {}{} are not UTF-8, the first in {}; they "
                      "are kept as they are",
                      invalid,
                      texts,
                      texts > 1 ? " texts" : " text",
                      first));
    }
    if (marks > 0) {
      lines.push_back(
          fmt::format("{}{} with a byte order mark, which is kept as text",
                      marks,
                      marks > 1 ? " texts begin" : " text begins"));
    }
    return lines;
  }
};

}  // namespace

Survey Corpus::survey() const {
  Survey survey;
  Oddities odd;
  // The hash of a list of hashes: one line a document.
  std::string lines;
  for (const Document& document : documents) {
    const std::string text = read_file(document.path);
    odd.add(document, check_text(document.path, text));
    survey.sizes.push_back(text.size());
    lines += document.name + ' ' + hash_hex(text) + '\n';
  }
  survey.fingerprint = hash_hex(lines);
  survey.notes = odd.notes();
  return survey;
}

Corpus read_corpus(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  require(fs::is_directory(folder, error),
          "{}: not a folder; expected one with .txt files",
          printable(folder.string()));
  Corpus corpus;
  // "texts/" names the folder texts too.
  const fs::path whole = fs::absolute(folder, error).lexically_normal();
  corpus.name =
      (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  FoundTexts found = find_texts(folder);
  require(found.unreadable.empty(), "{}", found.unreadable);
  require(!found.paths.empty(),
          "{}: no text in it{}; expected .txt files, or train.bin and val.bin",
          printable(folder.string()),
          found.skipped.empty() ? "" : " (" + found.skipped + ")");
  corpus.skipped = std::move(found.skipped);
  for (const fs::path& path : found.paths) {
    corpus.documents.push_back(
        {path.lexically_relative(folder).generic_string(), path});
  }
  std::ranges::sort(corpus.documents, {}, &Document::name);
  return corpus;
}

Corpus speeches() {
  Corpus corpus = read_corpus(fetch(find_package("speeches"), cache_folder()));
  corpus.name = "speeches";
  return corpus;
}

}  // namespace mumoe::data
