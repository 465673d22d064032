#pragma once

namespace mumoe::train {

/// While one exists, SIGUSR1 asks the run to stop instead of ending the
/// process, and so do SIGTERM and SIGINT once there is something to save
/// (`saving`): a launcher that ends a job which has failed at its start sends
/// them too. A SIGINT two seconds or more after the first signal ends the
/// process. At most one at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// From now on there is something to save.
  void saving();
  /// Whether this rank was asked to stop.
  bool requested() const;
};

}  // namespace mumoe::train
