#include "data/text/corpus.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "data/fetch.h"
#include "data/text/byte_stream.h"
#include "data/text/folder_walk.h"
#include "data/text/forms.h"

namespace mumoe::data {
Document::Form Document::form() const {
  return ends_in(path, ".jsonl") || ends_in(path, ".jsonl.gz")
             ? Form::json_lines
             : Form::text;
}

Corpus read_corpus(const std::filesystem::path& folder,
                   std::span<const std::string_view> names) {
  namespace fs = std::filesystem;
  std::error_code error;
  require(fs::is_directory(folder, error),
          "{}: not a folder; expected one with .txt or .jsonl files",
          printable(folder.string()));
  Corpus corpus;
  // "texts/" names the folder texts too.
  const fs::path whole = fs::absolute(folder, error).lexically_normal();
  corpus.name =
      (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  FoundTexts found = find_texts(folder, names);
  require(found.unreadable.empty(), "{}", found.unreadable);
  require(
      !found.paths.empty(),
      "{}: no text in it{}; expected .txt or .jsonl files, or train.bin and "
      "val.bin",
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
