#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/corpus.h"
#include "data/tokenizer.h"

namespace mumoe::data {

/// One half of a prepared corpus: a token file and what is known of it.
struct Split {
  std::filesystem::path path;
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;  ///< 0: not known
  std::uint64_t bytes = 0;      ///< Of text, separators not counted.
  std::string hash;             ///< `TokenFile::hash`

  /// Turns nats a token into nats a byte, by division.
  double bytes_per_token() const {
    return static_cast<double>(bytes) / static_cast<double>(tokens);
  }
};

/// What a run trains on and is evaluated on.
struct PreparedData {
  std::filesystem::path folder;
  std::string source;
  std::string fingerprint;  ///< `Corpus::fingerprint`; empty: not known
  std::string tokenizer;
  std::int64_t vocabulary = 0;
  Split train;
  Split val;
};

/// Makes token files of `source`, or finds them made.
///
/// `source` is "speeches", a folder of .txt files, or a folder that already
/// holds train.bin and val.bin, which is used as it is. Documents i with
/// i % 10 == 0 in the corpus's order are for validation, the others for
/// training, so that no speech is on both sides; of a corpus of one document
/// the last tenth is. Each document is followed by `end_of_document()`.
///
/// `out_folder` receives train.bin, val.bin (llm.c form) and, last,
/// dataset.json; empty means a folder of its own below `cache_folder()`. A
/// folder that already holds this corpus in this encoding is used again. One
/// process at a time may prepare a folder: of a job, rank 0, before the others
/// open it.
///
/// Throws `InputError`: no such source, no text, text that the tokenizer
/// refuses (naming the document), token files of another tokenizer or with
/// tokens outside its vocabulary.
PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const std::filesystem::path& out_folder = {});

/// Opens what `prepare` made: reads dataset.json and checks that the token
/// files it speaks of are there and as long as it says. Throws `InputError`
/// naming the file, what was found and what was expected.
PreparedData open_prepared(const std::filesystem::path& folder);

}  // namespace mumoe::data
