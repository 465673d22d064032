#include "launch/read_switch.h"

#include "base/error.h"

namespace mumoe::launch {

bool read_switch(const run::CommandLine& line,
                 const std::string& name,
                 const char* otherwise) {
  const std::string value = line.text(name, otherwise);
  require(value == "yes" || value == "no",
          "--{} {}: expected yes or no",
          name,
          value);
  return value == "yes";
}

}  // namespace mumoe::launch
