/* What the module's source includes. */
#include "pagezap/pagezap.h"
#include "pagezap/outside.h"
