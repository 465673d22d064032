#include "tests/support/source_folder.h"

namespace mumoe::testing {

const char* source_folder() {
  return MUMOE_SOURCE_DIR;
}

}  // namespace mumoe::testing
