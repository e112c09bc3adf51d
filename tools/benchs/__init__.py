"""Les bancs d’essai : un module par sujet, des fonctions décorées par `@bench`."""
