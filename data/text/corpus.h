#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// A file of a corpus. It is read when it is needed, a part at a time, so that
/// a corpus may be larger than memory.
struct Document {
  enum class Form {
    text,        ///< The file is one document.
    json_lines,  ///< Each line that is not blank is one.
  };
  std::string name;  ///< Path within the corpus, with slashes.
  std::filesystem::path path;

  /// By the name: .jsonl and .jsonl.gz are lines of JSON.
  Form form() const;
};

/// What reading all documents of a corpus once tells.
struct Survey {
  std::vector<std::uint64_t> sizes;   ///< Bytes of text of each document.
  std::vector<std::uint64_t> counts;  ///< Documents of each file.
  std::string fingerprint;            ///< `Corpus::fingerprint`
  std::vector<std::string>
      notes;  ///< What is odd about the texts, a line each.
};

/// Files of texts in their fixed order: by name, bytewise.
struct Corpus {
  std::string name;
  std::vector<Document> documents;
  /// What lies in the folder and is not read, and why, one line; empty:
  /// nothing.
  std::string skipped;
  /// Of the objects in lines of JSON, the string that is the text.
  std::string field = "text";

  /// Reads every document, on `threads` threads (0: one a core). Throws
  /// `InputError` naming the first that is not text in UTF-8 (`check_front`,
  /// `check_findings`), or file and line of JSON that is not as it should be
  /// (`text_of_line`).
  Survey survey(unsigned threads = 0) const;

  /// A hash of all names and contents, 16 hexadecimal digits. Reads every
  /// document.
  std::string fingerprint() const { return survey().fingerprint; }
};

/// The names that `read_corpus` takes, by how they end.
inline constexpr std::string_view kTextNames[] = {".txt",
                                                  ".txt.gz",
                                                  ".jsonl",
                                                  ".jsonl.gz"};

/// Every text below `folder`: files whose name ends as one of `names`, in small
/// letters or capitals, and that are not empty; .gz is unpacked when it is
/// read. Links are followed, a file or folder
/// that is reached twice counts once, by the name without links if it has one.
/// What is hidden (a name with a dot in front), a link to nothing, a file of
/// another name and what is no file is skipped, and `Corpus::skipped` says so.
/// Throws `InputError` naming the folder when there is no text, and what cannot
/// be listed.
Corpus read_corpus(const std::filesystem::path& folder,
                   std::span<const std::string_view> names = kTextNames);

/// The State of the Union speeches, fetched at first use.
Corpus speeches();

}  // namespace mumoe::data
