#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "study/experts/domain_information.h"
#include "study/experts/linear_probe.h"
#include "study/report/study_page.h"

namespace mumoe::launch {

/// A gate in `DomainsReport`.
struct DomainsOfGate {
  std::string name;
  std::int64_t experts = 0;
  study::DomainInformation information = {};
  study::ProbeResult probe = {};
};

/// A dense MLP of the twin.
struct DomainsOfMlp {
  std::string name;
  std::int64_t units = 0;  ///< That there are.
  study::ProbeResult probe = {};
};

/// What `mumoe study domains` has looked at and found.
struct DomainsReport {
  std::string run;
  std::string checkpoint;
  std::int64_t step = 0;
  std::string model;
  std::string data;
  std::string part;
  std::vector<std::string> sources = {};
  std::size_t windows = 0;
  double chance = 0;
  std::vector<DomainsOfGate> gates = {};
  study::ProbeResult all = {};  ///< Of all gates together.
  std::string dense_run = {};   ///< Empty: none was asked.
  std::string dense_model = {};
  std::vector<DomainsOfMlp> dense = {};
  study::ProbeResult dense_all = {};
};

study::StudyFindings domains_findings(const DomainsReport& report);
nlohmann::json domains_json(const DomainsReport& report);

}  // namespace mumoe::launch
