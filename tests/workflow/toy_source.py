"""Makes a toy source: parallel pairs in English, German and Spanish from a small grammar, as JSON lines.

It exists to run the chain in seconds. Its sentences are regular and its scores say nothing about real text.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

DEVICES = [
    ("lamp", "die Lampe", "la lámpara"),
    ("heater", "die Heizung", "el calefactor"),
    ("fan", "den Ventilator", "el ventilador"),
    ("camera", "die Kamera", "la cámara"),
    ("speaker", "den Lautsprecher", "el altavoz"),
    ("door lock", "das Türschloss", "la cerradura"),
    ("alarm", "den Alarm", "la alarma"),
    ("vacuum", "den Staubsauger", "la aspiradora"),
]
ROOMS = [
    ("kitchen", "in der Küche", "de la cocina"),
    ("garage", "in der Garage", "del garaje"),
    ("garden", "im Garten", "del jardín"),
    ("bathroom", "im Badezimmer", "del baño"),
    ("office", "im Büro", "de la oficina"),
]
ACTIONS = [
    ("Start", "Starten", "Iniciar", "Turns on", "Schaltet", "ein", "Enciende"),
    ("Stop", "Stoppen", "Detener", "Turns off", "Schaltet", "aus", "Apaga"),
    ("Reset", "Zurücksetzen", "Restablecer", "Resets", "Setzt", "zurück", "Restablece"),
]


def pairs() -> list[dict[str, str]]:
    """One row a pair and language: group, lang, question, answer."""
    rows = []
    for (action, device), room in product(product(ACTIONS, DEVICES), ROOMS):
        group = f"{action[0]}-{device[0]}-{room[0]}".lower().replace(" ", "-")
        device_de = device[1].split(" ", 1)[1]
        texts = {
            "en": (f"{action[0]} {room[0]} {device[0]}", f"{action[3]} the {device[0]} in the {room[0]} at once."),
            "de": (
                f"{device_de} {room[1]} {action[1].lower()}",
                f"{action[4]} {device[1]} {room[1]} sofort {action[5]}.",
            ),
            "es": (f"{action[2]} {device[2]} {room[2]}", f"{action[6]} {device[2]} {room[2]} de inmediato."),
        }
        rows += [{"group": group, "lang": lang, "question": q, "answer": a} for lang, (q, a) in texts.items()]
    return rows


def write(path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs()), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
