#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "dist/communicator.h"

namespace mumoe::run {

/// The first text of any rank that is not empty, in the order of ranks.
/// Collective over `world`.
std::string first_text(dist::Communicator& world, std::string_view here);

/// Calls `action`. Where it throws `InputError` on some ranks, all throw that
/// of the lowest of them. Collective over `world`.
void agree_on_errors(dist::Communicator& world,
                     const std::function<void()>& action);
/// The same of reading `checkpoint`: a `DamageError` becomes a
/// `DamagedCheckpoint`.
void agree_on_damage(dist::Communicator& world,
                     const std::filesystem::path& checkpoint,
                     const std::function<void()>& read);

}  // namespace mumoe::run
