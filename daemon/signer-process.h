/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The signer: the process that alone holds private keys. */
#ifndef SIGNER_PROCESS_H
#define SIGNER_PROCESS_H

/* Where an executed signer finds the supervisor's socket. */
enum { SIGNER_CONTROL_FD = 3 };

/* Its main function: the process ends with the supervisor's end of the socket. Returns an exit status where
 * it cannot do what it is told. */
int signer_main(int control);

#endif
