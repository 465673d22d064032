#pragma once

#include <map>
#include <string>
#include <vector>

namespace mumoe::study {

/// What a stretch of virtual time was spent on.
struct VirtualSpan {
  std::string row;
  std::string name;
  double begin = 0;  ///< Seconds since the clock was made.
  double end = 0;
};

/// Time as one rank of a run that is not there would see it: that of its host,
/// of its device's queue and of its networks. On a CPU the host computes; a
/// GPU's host only queues, and is ahead unless the queue runs empty.
class VirtualClock {
 public:
  /// `queues`: as a GPU does. `keeps`: whether `spans` are kept, for a trace.
  VirtualClock(bool queues, bool keeps);

  /// Something is computed in `seconds`, `launch` of the host's before.
  void compute(const std::string& name, double seconds, double launch);
  /// The host needs the results: it waits for the queue.
  void read_back();
  /// Something is sent over `network`, which takes what it is given one after
  /// the other: from when what is computed by now is there, or at once where it
  /// is the host's. The end, seconds.
  double send(const std::string& network,
              const std::string& name,
              double seconds,
              bool of_host = false);
  /// What is computed from now on needs what ends at `end` on `network`: the
  /// queue waits, or the host that computes itself.
  void await(const std::string& network, double end);
  /// The host waits until `end`.
  void await_on_host(const std::string& network, double end);
  /// The run enters a phase.
  void phase(const std::string& name);

  /// When all that was computed is there, and the host is free.
  double now() const;
  /// Seconds waited for each network, that nothing hid.
  const std::map<std::string, double>& waited() const { return waited_; }
  /// In which the queue was empty, since the host had not queued.
  double idle() const { return idle_; }
  const std::vector<VirtualSpan>& spans() const { return spans_; }

 private:
  double& computing() { return queues_ ? queue_ : host_; }
  void keep(const std::string& row,
            const std::string& name,
            double begin,
            double end);

  bool queues_;
  bool keeps_;
  double host_ = 0;
  double queue_ = 0;                       ///< When it will be empty.
  std::map<std::string, double> network_;  ///< When each will be free.
  std::map<std::string, double> waited_;
  /// By a host that queues, since it queued last: it may have been ahead.
  std::map<std::string, double> host_waited_;
  double idle_ = 0;
  std::string phase_;
  double phase_began_ = 0;
  std::vector<VirtualSpan> spans_;
};

/// `spans` of rank `rank` as a Chrome trace (chrome://tracing,
/// ui.perfetto.dev): a row of each name, in the order of `rows` and then as
/// they come.
std::string chrome_trace(const std::vector<VirtualSpan>& spans,
                         int rank,
                         const std::string& label);

}  // namespace mumoe::study
