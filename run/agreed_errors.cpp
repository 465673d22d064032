#include "run/agreed_errors.h"

#include "base/error.h"
#include "dist/gather_text.h"
#include "run/damage.h"

namespace mumoe::run {
namespace {

/// What an action came to: nothing, or a letter for the kind of error and its
/// text.
constexpr char kDamage = 'd';
constexpr char kInput = 'i';

std::string attempt(const std::function<void()>& action) {
  try {
    action();
    return {};
  } catch (const DamageError& error) {
    return kDamage + std::string(error.what());
  } catch (const InputError& error) {
    return kInput + std::string(error.what());
  }
}

}  // namespace

std::string first_text(dist::Communicator& world, std::string_view here) {
  for (const std::string& each : dist::gather_text(world, here)) {
    if (!each.empty()) return each;
  }
  return {};
}

void agree_on_errors(dist::Communicator& world,
                     const std::function<void()>& action) {
  const std::string problem = first_text(world, attempt(action));
  if (!problem.empty()) throw InputError(problem.substr(1));
}

void agree_on_damage(dist::Communicator& world,
                     const std::filesystem::path& checkpoint,
                     const std::function<void()>& read) {
  const std::string problem = first_text(world, attempt(read));
  if (problem.empty()) return;
  if (problem.front() == kInput) throw InputError(problem.substr(1));
  throw DamagedCheckpoint(checkpoint, problem.substr(1));
}

}  // namespace mumoe::run
