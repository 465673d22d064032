#pragma once

namespace mumoe::train {

/// While one exists, SIGTERM, SIGINT and SIGUSR1 ask the run to save and stop
/// instead of ending the process; a SIGINT two seconds or more after the first
/// signal ends it. At most one at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Whether this rank was asked to stop.
  bool requested() const;
};

}  // namespace mumoe::train
