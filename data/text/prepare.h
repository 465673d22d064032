#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/text/corpus.h"
#include "data/text/shards.h"
#include "data/text/token_file.h"
#include "data/text/tokenizer.h"

namespace mumoe::data {

/// One half of a prepared corpus: its token files and what is known of them.
struct Split {
  std::filesystem::path path;  ///< The first file, as a rule the only one.
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;  ///< 0: not known
  std::uint64_t bytes = 0;      ///< Of text, separators not counted.
  /// `TokenFile::hash`; of several files, a hash of theirs.
  std::string hash;
  std::vector<Shard> shards;  ///< Every file, in order, by its name.

  /// Turns nats a token into nats a byte, by division.
  double bytes_per_token() const {
    return static_cast<double>(bytes) / static_cast<double>(tokens);
  }

  /// Where the files are, in order.
  std::vector<std::filesystem::path> files() const;

  /// The files, mapped.
  std::vector<TokenFile> open() const;
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
  /// What the user should know of it, a line each: what was skipped or is odd,
  /// how it was split if not by every tenth document.
  std::vector<std::string> notes;
};

/// How token files are made.
struct PrepareOptions {
  /// Receives train.bin, val.bin (llm.c form) and, last, dataset.json; empty: a
  /// folder of its own below `cache_folder()`.
  std::filesystem::path out_folder = {};
  /// The string of a line of JSON that is its text.
  std::string field = "text";
  /// More tokens than these are several files (`ShardWriter`).
  std::uint64_t shard_tokens = 100'000'000;
  unsigned threads = 0;  ///< 0: one a core
};

/// Makes token files of `source`, or finds them made.
///
/// `source` is a name (`named_sources`), a folder of texts (`read_corpus` says
/// which files count), or a folder that already holds train.bin and val.bin, or
/// shards of them, which is used as it is. About a tenth of the bytes is for
/// validation: the documents i with i % 10 == 0 in the corpus's order, so that
/// no speech is on both sides, or what `plan_split` says where that is far from
/// a tenth; the last tenth of a single document. Each document is followed by
/// `end_of_document()`.
///
/// A folder that already holds this corpus in this encoding is used again, with
/// nothing written. Processes may prepare a folder at once: one does it, under
/// the lock prepare.lock in it, the others say on stderr for whom they wait and
/// use what it made. After a crash the next goes on behind the shards that are
/// finished. In memory: the tokens of one file a split, and a few blocks a
/// thread.
///
/// Throws `InputError`: no such source, no text, text in another form than
/// UTF-8 (`check_front`, `check_findings`) or that the tokenizer refuses
/// (naming the document), lines of JSON that are not as they should be (naming
/// file and line), token files of another tokenizer or form or with tokens
/// outside its vocabulary, texts beside token files, an `out_folder` that holds
/// texts, a run, or the token files of other texts or another tokenizer, or
/// that would not be written since `source` holds token files.
PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const PrepareOptions& options);
PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const std::filesystem::path& out_folder = {});

/// A source of a mixture, prepared.
struct PreparedSource {
  double weight = 1;  ///< Of all weights 1.
  PreparedData data;
};

/// Prepares every source that `sources` names (`parse_sources`), each into a
/// folder of its own: below `options.out_folder`, if that is given and they are
/// several, one called as the source or its folder. In their order. Throws
/// `InputError` as both.
std::vector<PreparedSource> prepare_sources(const std::string& sources,
                                            const Tokenizer& tokenizer,
                                            const PrepareOptions& options = {});

/// Opens what `prepare` made: reads dataset.json and checks that the token
/// files it speaks of are there and as long as it says. Throws `InputError`
/// naming the file, what was found and what was expected.
PreparedData open_prepared(const std::filesystem::path& folder);

}  // namespace mumoe::data
