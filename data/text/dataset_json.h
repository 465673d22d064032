#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/text/prepare.h"

namespace mumoe::data {

/// The folder's token files are being prepared, or were when that ended.
struct Unfinished : InputError {
  using InputError::InputError;
};

/// Writes `data` as `data.folder`/dataset.json, atomically.
void write_dataset_json(const PreparedData& data);

/// What is written of a folder that is not finished.
struct Progress {
  std::uint64_t limit = 0;        ///< Tokens of a full shard.
  std::vector<Shard> train, val;  ///< Full shards.
};

/// The same before all token files are there: until `write_dataset_json`,
/// whoever reads it is told that the folder is not finished.
void write_unfinished(const PreparedData& data, const Progress& progress);

/// The shards of `data.folder` from which a preparation that was interrupted
/// goes on: it was of the same texts, tokenizer and limit, and they are intact;
/// what follows one that is not does not count. Nothing otherwise.
Progress read_progress(const PreparedData& data, std::uint64_t limit);

/// What `folder`/dataset.json says; the token files are not looked at. Throws
/// `Unfinished`, or `InputError` naming the file and what is wrong with it.
PreparedData read_dataset_json(const std::filesystem::path& folder);

/// Whether `folder`/dataset.json is there and of another program.
bool is_foreign(const std::filesystem::path& folder);

/// `source` as dataset.json holds it: what is not UTF-8 replaced.
std::string as_recorded(const std::string& source);

}  // namespace mumoe::data
