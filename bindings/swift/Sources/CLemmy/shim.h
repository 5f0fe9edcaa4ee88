#include <lemmy.h>
