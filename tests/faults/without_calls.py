"""Runs a program whose system calls answer with an error, as those of a file system do that lacks them.

without_calls.py link:EPERM,lock:ENOLCK program arguments...

Calls: `link` (hard links), `rename` (those that replace nothing), `lock` (flock). Not on other systems than Linux.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {
    "x86_64": {"link": (86, 265), "rename": (316,), "lock": (73,)},
    "aarch64": {"link": (37,), "rename": (276,), "lock": (32,)},
}[platform.machine()]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
# In struct seccomp_data.
NUMBER, FIFTH_ARGUMENT = 0, 16 + 4 * 8


def instruction(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def program(failures):
    filters = []
    for call, name in failures:
        error = instruction(RETURN, 0, 0, ERRNO | getattr(errno, name))
        for number in NUMBERS[call]:
            filters.append(instruction(LOAD, 0, 0, NUMBER))
            if call == "rename":
                # Without flags it is the rename that every file system has.
                filters.append(instruction(EQUAL, 0, 3, number))
                filters.append(instruction(LOAD, 0, 0, FIFTH_ARGUMENT))
                filters.append(instruction(EQUAL, 1, 0, 0))
            else:
                filters.append(instruction(EQUAL, 0, 1, number))
            filters.append(error)
    filters.append(instruction(RETURN, 0, 0, ALLOW))
    return b"".join(filters)


def install(code):
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    filters = Program(len(code) // 8, code)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filters), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            sys.exit(f"prctl{arguments}: {os.strerror(ctypes.get_errno())}")


failures = [failure.split(":") for failure in sys.argv[1].split(",")]
install(program(failures))
os.execvp(sys.argv[2], sys.argv[2:])
