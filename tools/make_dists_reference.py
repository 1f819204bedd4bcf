"""Writes the reference of the DISTS test: pyiqa 0.1.16 with a small random VGG16. Run at the root of the repository."""
import json,torch,numpy as np
from PIL import Image
import pyiqa.archs.dists_arch as D
from safetensors.torch import save_file
torch.manual_seed(3)
ch=[3,4,6,8,10,12]
M=D.DISTS.__new__(D.DISTS); torch.nn.Module.__init__(M)
idx=[[0,2],[5,7],[10,12,14],[17,19,21],[24,26,28]]
W={}
c=3
for s,st in enumerate(idx):
    seq=torch.nn.Sequential()
    if s: seq.add_module('pool',D.L2pooling(channels=ch[s]))
    for l in st:
        conv=torch.nn.Conv2d(c,ch[s+1],3,padding=1); torch.nn.init.kaiming_normal_(conv.weight); torch.nn.init.normal_(conv.bias,0,.1)
        W[f'features.{l}.weight']=conv.weight.detach().clone(); W[f'features.{l}.bias']=conv.bias.detach().clone()
        seq.add_module(f'c{l}',conv); seq.add_module(f'r{l}',torch.nn.ReLU()); c=ch[s+1]
    setattr(M,f'stage{s+1}',seq)
M.register_buffer('mean',torch.tensor([0.485,0.456,0.406]).view(1,-1,1,1)); M.register_buffer('std',torch.tensor([0.229,0.224,0.225]).view(1,-1,1,1))
M.chns=ch; n=sum(ch)
M.alpha=torch.nn.Parameter(torch.rand(1,n,1,1)); M.beta=torch.nn.Parameter(torch.rand(1,n,1,1))
W['alpha']=M.alpha.detach().clone(); W['beta']=M.beta.detach().clone()
out={}
with torch.no_grad():
    for p in ('bicubic4','mixed','noise'):
        t=[torch.from_numpy(np.asarray(Image.open(f'fixtures/metrics/images/{p}_{k}.png').convert('RGB')).copy()).permute(2,0,1)[None].float()/255 for k in ('dist','ref')]
        out[p]=float(M(*t))
save_file(W,'crates/gendr-metrics/tests/data/dists.safetensors'); json.dump(out,open('crates/gendr-metrics/tests/data/dists.json','w'),indent=1)
