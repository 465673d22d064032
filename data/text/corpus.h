#pragma once

#include <cstdint>
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

/// What reading all documents of a corpus once tells.
struct Survey {
  std::vector<std::uint64_t> sizes;  ///< Bytes of each document.
  std::string fingerprint;           ///< `Corpus::fingerprint`
  std::vector<std::string>
      notes;  ///< What is odd about the texts, a line each.
};

/// Texts in their fixed order: by name, bytewise. No document is empty.
struct Corpus {
  std::string name;
  std::vector<Document> documents;
  /// What lies in the folder and is not read, and why, one line; empty:
  /// nothing.
  std::string skipped;

  /// Reads every document. Throws `InputError` naming the first that is not
  /// text in UTF-8 (`check_text`).
  Survey survey() const;

  /// A hash of all names and contents, 16 hexadecimal digits. Reads every
  /// document.
  std::string fingerprint() const { return survey().fingerprint; }
};

/// Every text below `folder`: files whose name ends in .txt, in small letters
/// or capitals, and that are not empty. Links are followed, a file or folder
/// that is reached twice counts once, by the name without links if it has one.
/// What is hidden (a name with a dot in front), a link to nothing, a file of
/// another name and what is no file is skipped, and `Corpus::skipped` says so.
/// Throws `InputError` naming the folder when there is no text, and what cannot
/// be listed.
Corpus read_corpus(const std::filesystem::path& folder);

/// The State of the Union speeches, fetched at first use.
Corpus speeches();

}  // namespace mumoe::data
