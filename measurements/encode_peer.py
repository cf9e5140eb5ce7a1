"""What one would write to embed a corpus with sentence-transformers: Parquet in, .npy out, and nothing else.

inputs: a folder of a model, a Parquet file with a column `text`
outputs: a .npy of vectors of length 1; the last line of output says how many, and how long `encode` took
"""

import argparse
import json
import time

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--texts", required=True)
parser.add_argument("--output", required=True)
parser.add_argument("--batch-size", type=int, default=32)  # the library's own default
parser.add_argument("--device", default="cpu")
parser.add_argument("--prompt-name", help="of the model's prompts")
args = parser.parse_args()

precision = {"dtype": torch.bfloat16} if args.device == "cuda" else {}
model = SentenceTransformer(args.model, device=args.device, model_kwargs=precision, local_files_only=True)
start, cpu = time.perf_counter(), time.process_time()
texts = pd.read_parquet(args.texts, columns=["text"])["text"].tolist()
vectors = model.encode(texts, batch_size=args.batch_size, normalize_embeddings=True, prompt_name=args.prompt_name)
np.save(args.output, vectors)
took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
print(json.dumps({"units": len(texts), **took}))
