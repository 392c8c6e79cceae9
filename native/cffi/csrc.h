/* What the module's source includes. */
#include "pagezap/outside.h"
#include "pagezap/pagezap.h"
