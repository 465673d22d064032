#pragma once

#include <array>
#include <csignal>

namespace mumoe::train {

/// While one exists, SIGUSR1 asks the run to stop instead of ending the
/// process, and so do SIGTERM, SIGINT and SIGHUP (a closed terminal) once there
/// is something to save (`saving`): a launcher that ends a job which has failed
/// at its start sends them too. A SIGINT two seconds or more after the first
/// signal ends the process. A SIGHUP that was ignored stays so (nohup). From
/// `saving` on, output that nobody reads any more (SIGPIPE) never ends the
/// process, not even at its exit. At most one at a time.
class StopSignals {
 public:
  StopSignals();
  /// The four do again what they did before.
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// From now on there is something to save.
  void saving();
  /// Whether this rank was asked to stop.
  bool requested() const;

 private:
  static constexpr std::array kTaken = {SIGUSR1, SIGTERM, SIGINT, SIGHUP};
  std::array<struct sigaction, kTaken.size()> before_;
};

}  // namespace mumoe::train
