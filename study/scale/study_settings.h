#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "run/options.h"
#include "study/scale/json_place.h"
#include "study/scale/study_layout.h"

namespace mumoe::study {

// What study files of all kinds say alike. All throw `InputError`: file, where
// in it, what was expected.

/// Throws for a key of `root`, `what` ("a loss study"), that is none of `keys`:
/// with the one that it may mean.
void require_known(const JsonPlace& root,
                   std::span<const char* const> keys,
                   const char* what);

/// Throws for a `name`, found at `place`, that is none of a folder.
void require_name(const std::string& name, const JsonPlace& place);

/// An object {key of a run: value}, without those that the study sets itself
/// for each of its runs (`own`).
Settings settings_of(const JsonPlace& place, std::span<const char* const> own);

/// The models of `root`, in order of their names: each with its settings,
/// whose keys, like those of `common`, are some of a run.
std::vector<std::pair<std::string, Settings>> models_of(
    const JsonPlace& root,
    const Settings& common,
    std::span<const char* const> own);

/// The minutes that one run may take, if `root` says them; else `otherwise`.
double minutes_of(const JsonPlace& root, double otherwise);

/// The file `config`; empty: the default recipe.
run::Draft draft_of(const std::filesystem::path& config);

/// Of what `config` sets to something else than where nothing is set: two that
/// say the same have the same.
std::string config_hash(const std::filesystem::path& config);

/// Throws `InputError`: the settings of `config` are others than when `run`
/// came to its end in the folder that it is in.
[[noreturn]] void refuse_config(const std::filesystem::path& config,
                                const std::string& run);

/// `settings` on top of `draft`; a mistake is one in `where`.
void apply(run::Draft& draft,
           const Settings& settings,
           const std::string& where);

/// Adds `more` to `settings`. The last of two that say the same key wins, and a
/// command line takes one.
void replace(Settings& settings, const Settings& more);

}  // namespace mumoe::study
