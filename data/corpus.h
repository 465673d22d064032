#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mumoe::data {

/// A text of a corpus. It is read when it is needed, so that a corpus may be
/// larger than memory.
struct Document {
  std::string name;  ///< Path within the corpus, with slashes.
  std::filesystem::path path;
};

/// Texts in their fixed order: by name, bytewise. No document is empty.
struct Corpus {
  std::string name;
  std::vector<Document> documents;

  /// A hash of all names and contents, 16 hexadecimal digits. Reads every
  /// document.
  std::string fingerprint() const;
};

/// Every file below `folder` whose name ends in .txt and that is not empty.
/// Throws `InputError` naming the folder when there is none.
Corpus read_corpus(const std::filesystem::path& folder);

/// The State of the Union speeches, fetched at first use.
Corpus speeches();

}  // namespace mumoe::data
