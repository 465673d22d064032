#pragma once

#include <filesystem>
#include <string>

#include "data/text/prepare.h"

namespace mumoe::data {

/// Whether `path` is there, be it a link to nothing; what cannot be looked at
/// is not.
bool is_there(const std::filesystem::path& path);

/// Whether `folder` has train.bin, val.bin or shards of them, or is being given
/// them.
bool holds_token_files(const std::filesystem::path& folder);

/// The token files of `folder`, used where they are; waits for a process that
/// is preparing them. Throws `InputError` as `prepare` says.
PreparedData use_token_folder(const std::filesystem::path& folder,
                              const Tokenizer& tokenizer);

/// Throws `InputError` unless `folder` may be given the token files of
/// `wanted`: it holds none, nor texts or a run, or those of the same texts and
/// tokenizer, or what an interrupted or damaged preparation left.
void require_own_folder(const std::filesystem::path& folder,
                        const PreparedData& wanted);

/// Removes the token files of `data.folder` that are not of `data`: those of
/// preparations that came to nothing.
void remove_other_files(const PreparedData& data);

/// Held by who writes the token files of a folder.
inline constexpr char kLockFile[] = "prepare.lock";

}  // namespace mumoe::data
